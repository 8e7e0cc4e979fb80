"""Floor 6: sources of numbers, and control loops."""
