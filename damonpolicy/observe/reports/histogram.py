"""Histograms of memory by temperature or idle time: bins and percentiles.

Bins and percentiles are those of damo's reports (version 3.4.3), so that both can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.observe.regions import Array

__all__ = ("BINS", "Bin", "histogram", "percentiles")

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Values from ``low`` (None: no lower end) up to, but excluding, ``high``, and their bytes.

    ``passed`` is how many of the bytes passed the page filters, None if unknown.
    """

    low: int | None
    high: int
    size: int
    passed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "low": self.low, "high": self.high, "bytes": self.size, "passed_bytes": self.passed,
        }  # fmt: skip


def _edges(values: Array, *, log: bool) -> list[tuple[int, int]]:
    """Return the bounds of bins for some values: equally wide, or doubling."""
    if not len(values):
        return []
    least, most = int(values.min()), int(values.max())
    bounds, low = [], least
    width = max((most - least) // (1 << BINS), 1) if log else -(-(most + 1 - least) // BINS)
    while low <= most:
        bounds.append((low, low + width))
        low += width
        width = width * 2 if log else width
    return bounds


def histogram(
    values: Array,
    size: Array,
    passed: Array | None = None,
    *,
    log: bool = False,
    cumulative: bool = False,
    ranges: Sequence[tuple[int, int]] = (),
) -> list[Bin]:
    """Add up the bytes of regions by their values.

    ``ranges`` may leave values out; otherwise the sum of all bins is that of ``size``. With
    ``cumulative``, a bin has everything below its upper end.
    """
    found = []
    for low, high in ranges or _edges(values, log=log):
        inside = values < high if cumulative else (values >= low) & (values < high)
        of_them = None if passed is None else int(passed[inside].sum())
        found.append(Bin(None if cumulative else low, high, int(size[inside].sum()), of_them))
    return found


def percentiles(values: Array, size: Array, wanted: Sequence[float]) -> list[tuple[float, int]]:
    """Return the value of each percentile of the bytes.

    Regions are sorted by value; each sets the percentiles that the bytes up to it reach.
    """
    total = int(size.sum())
    if not total:
        return []
    rows = np.argsort(values, kind="stable")
    reached = np.cumsum(size[rows].astype(np.float64)) * 100 / total
    reached[-1] = 100.0
    places = np.searchsorted(reached, np.asarray(wanted, dtype=np.float64), side="left")
    return [
        (each, int(values[rows][place]))
        for each, place in zip(wanted, places, strict=True)
        if place < len(rows)
    ]
