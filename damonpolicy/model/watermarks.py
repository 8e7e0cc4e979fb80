"""``watermarks/``: when a scheme is awake."""

from __future__ import annotations

from typing import Literal

from damonpolicy.model.scalars import Duration, Model, Percent

__all__ = ("Watermarks",)


class Watermarks(Model):
    """Asleep above ``high`` and below ``low``; awake once the metric falls below ``mid``."""

    metric: Literal["none", "free_mem_rate"]
    every: Duration
    high: Percent
    mid: Percent
    low: Percent
