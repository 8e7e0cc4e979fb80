"""``watermarks/``: the thresholds between which a scheme is awake."""

from __future__ import annotations

from typing import Literal

from damonpolicy.policy.model.scalars import Duration, Model, Percent

__all__ = ("Watermarks",)


class Watermarks(Model):
    """Asleep above ``high`` and below ``low``; awake once the metric falls below ``mid``."""

    metric: Literal["none", "free_mem_rate"]
    """`free_mem_rate`, the share of free memory; with `none` it is always awake."""
    every: Duration
    """How often to check the metric."""
    high: Percent
    """Asleep above it."""
    mid: Percent
    """Awake at or below it."""
    low: Percent
    """Asleep below it."""
