"""DAMON as the kernel shows it: its tree, what it can do, and how it is asked."""
