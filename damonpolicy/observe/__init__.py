"""Floor 6: what runs and what the kernel sees."""
