"""Floor 1: what the machine is, and the only way to its files."""
