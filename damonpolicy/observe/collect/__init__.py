"""What the kernel sees, from its files and trace events."""
