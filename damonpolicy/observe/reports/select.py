"""Selection of regions for reports, by size, access rate, age, address and temperature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import (
    UnitError,
    read_address,
    read_bytes,
    read_duration,
    read_percent,
    read_temperature,
)
from damonpolicy.observe.regions import Array, Series, Table
from damonpolicy.observe.temperature import (
    Weights,
    access_percent,
    age_us,
    samples_of_rows,
    temperature,
)

__all__ = (
    "READERS",
    "Bounds",
    "Columns",
    "Wanted",
    "columns",
    "cut",
    "in_order",
    "read_range",
    "selected",
)

Bounds: TypeAlias = tuple[float, float]
"""The least and the most, inclusive."""

Wanted: TypeAlias = dict[str, Bounds]
"""Bounds on regions, by name.

``size`` in bytes, ``access_rate`` in percent, ``age`` in microseconds; of ``address`` the end is the
first byte that no longer belongs to it. Regions are cut to it.
"""

READERS: Mapping[str, Callable[[str], Any]] = {
    "size": read_bytes,
    "access_rate": lambda text: read_percent(text) * 100,
    "age": read_duration,
    "address": read_address,
    "temperature": read_temperature,
}
"""Readers of one bound of `Wanted`."""
_NAMED = {"access_rate": "percent"}


@dataclass(frozen=True, slots=True)
class Columns(Table):
    """Columns derived from those of a series, one value per row.

    ``percent`` is the access rate as `access_percent` has it, ``age`` in microseconds, ``aggregation`` the
    aggregation interval in microseconds.
    """

    size: Array
    percent: Array
    age: Array
    aggregation: Array
    temperature: Array


def columns(series: Series, weights: Weights | None = None) -> Columns:
    """Compute size, access rate, age and temperature of every row."""
    regions, of_row = series.regions, series.of_row
    percent = access_percent(regions.accesses, samples_of_rows(series), as_damo=series.as_damo)
    aggregation = series.aggregation[of_row]
    heat = temperature(
        regions.size, percent, regions.age, aggregation, weights or series.source.weights
    )
    return Columns(regions.size, percent, age_us(regions.age, aggregation), aggregation, heat)


def selected(series: Series, wanted: Wanted) -> Series:
    """Return the rows within all bounds; snapshots stay, even without regions."""
    if not wanted:
        return series
    if "address" in wanted:
        series = cut(series, wanted["address"])
    found = columns(series)
    rows = np.ones(len(series.regions), dtype=bool)
    for name in wanted.keys() - {"address"}:
        (low, high), value = wanted[name], getattr(found, _NAMED.get(name, name))
        rows &= (value >= low) & (value <= high)
    return series.where(rows)


def cut(series: Series, bounds: Bounds) -> Series:
    """Return the rows that overlap an address range, cut to it.

    The passed bytes of a piece are unknown, and assumed to be the same share as of the whole.
    """
    low, high = (np.uint64(min(max(each, 0), (1 << 64) - 1)) for each in bounds)
    series = series.where((series.regions.end > low) & (series.regions.start < high))
    regions = series.regions
    start, end = np.maximum(regions.start, low), np.minimum(regions.end, high)
    passed = regions.passed
    if passed is not None:
        share = (end - start) / np.maximum(regions.size, 1)
        passed = (np.minimum(passed, np.uint64(1 << 63)) * share).astype(np.uint64)
    return replace(series, regions=replace(regions, start=start, end=end, passed=passed))


def in_order(keys: Array, *, descending: bool) -> Array:
    """Return the indexes of keys in order; the sort is stable in either direction."""
    if not descending:
        return np.argsort(keys, kind="stable")
    return len(keys) - 1 - np.argsort(keys[::-1], kind="stable")[::-1]


def read_range(text: str, read: Callable[[str], Any]) -> Bounds:
    """Read ``LOW..HIGH``, or ``LOW-HIGH`` if neither is negative.

    Either may be missing, and a single value is both. ``read`` reads one value. Raises UnitError.
    """
    separator = ".." if ".." in text else "-"
    first, found, last = text.partition(separator)
    low = float(read(first.strip())) if first.strip() else float("-inf")
    high = float(read(last.strip())) if last.strip() else float("inf")
    if not found:
        high = low
    if low > high:
        raise UnitError("DP0119", f"`{text}` goes backwards", f"write `{last}{separator}{first}`")
    return low, high
