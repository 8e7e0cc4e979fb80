"""The effect of commits: probes that ask a kernel what it does, not what its files say."""
