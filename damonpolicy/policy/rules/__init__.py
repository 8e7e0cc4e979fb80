"""Rules that look at more than one field, or at the machine."""
