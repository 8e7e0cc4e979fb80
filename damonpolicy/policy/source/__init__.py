"""Floor 1: policy text, its positions and its templates."""
