"""From nodes to models, with hints for what cannot be read."""
