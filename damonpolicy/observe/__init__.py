"""Floor 6: observation of what runs and of what the kernel sees."""
