"""The effect of commits: probes of what a kernel does, whatever its files say."""
