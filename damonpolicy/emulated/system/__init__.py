"""The parts of an emulated machine beside DAMON."""
