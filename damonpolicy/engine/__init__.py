"""Floor 5: transactions on the kernel, with the standard library only."""
