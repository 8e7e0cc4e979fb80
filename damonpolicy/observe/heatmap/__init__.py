"""Heatmaps, and the forms that they are drawn in."""
