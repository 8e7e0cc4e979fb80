"""DAMON of an emulated machine."""
