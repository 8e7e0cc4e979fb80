"""Floor 6: where numbers come from, and what is done by them."""
