"""Floor 4: from models to operations."""
