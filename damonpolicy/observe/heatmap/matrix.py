"""Heatmaps: accesses by address and time, as a matrix of pixels.

A region has been unchanged for its age, so it paints the time from its snapshot's begin less its
age to the snapshot's end, except the time painted by earlier snapshots. A pixel is the sum of heat
times the overlapping time and bytes, divided by the time and the bytes of a pixel. Both are as in
damo 3.4.3, except that each snapshot's own aggregation interval counts, so that records of tuned
intervals are right, and that overlapping address spaces are not added up. Uncovered pixels are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.observe.heatmap.painting import Rectangles, covered, painted
from damonpolicy.observe.regions import UNKNOWN, Array, Series
from damonpolicy.observe.reports.select import columns, cut
from damonpolicy.observe.temperature import accesses_per_second, age_us, samples_of_rows

__all__ = (
    "Area",
    "Heatmap",
    "Value",
    "Window",
    "areas",
    "by_target",
    "heatmap",
    "hottest",
    "on_one_scale",
    "recorded",
    "sorted_by_temperature",
    "with_past",
    "within",
)


_DUST = 1e-6
"""The tolerance for rounding in the covered share of a pixel."""
_LONGEST = 1 << 62
"""The largest age in nanoseconds: with times of records, it stays within 64 bits."""


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the address space without a gap that all snapshots have in common.

    ``start`` and ``end`` are bytes, ``accesses`` the sum over all its regions of all snapshots of
    size times accesses, ``heat`` the mean of accesses per second over its bytes and snapshots.
    """

    start: int
    end: int
    accesses: float = 0.0
    heat: float = 0.0

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.end - self.start

    @property
    def hotness(self) -> float:
        """Accesses per length, by which the hottest area is chosen."""
        return self.accesses / max(self.size, 1)


@dataclass(frozen=True, slots=True)
class Window:
    """The range of a map: ``begin`` to ``end`` in ns of the epoch, ``start`` to ``stop`` bytes."""

    begin: int
    end: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Value:
    """The quantity of a pixel.

    ``kind`` is ``accesses`` (per second), ``percent`` (the share of samples that found it accessed,
    independent of intervals), ``passed`` (accesses to the bytes that passed the scheme's filters),
    ``hits`` (of the probe of index ``probe``, per second) or ``temperature``.
    """

    kind: str = "accesses"
    probe: int = 0


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Pixels of one window: ``values`` is of shape (time, address), NaN where unknown.

    ``unit`` is that of the values, ``shows`` describes them in words. ``origin`` is when the first
    snapshot began, in ns since the epoch, from which relative times count. ``sorted`` maps have
    bytes in order of temperature instead of addresses.
    """

    name: str
    values: Array = field(repr=False)
    window: Window
    shows: str
    unit: str
    origin: int = 0
    sorted: str = ""
    """The order of the address axis: empty, ``hottest last`` or ``hottest first``."""
    limits: tuple[float, float] | None = None
    """The scale, if not that of these values, as several maps may share one."""

    @property
    def times(self) -> list[int]:
        """Edges of the pixels in ns since the epoch, one more than pixels."""
        return _edges(self.window.begin, self.window.end, self.values.shape[0])

    @property
    def addresses(self) -> list[int]:
        """Edges of the pixels in bytes, one more than pixels."""
        return _edges(self.window.start, self.window.stop, self.values.shape[1])

    @property
    def scale(self) -> tuple[float, float]:
        """The lowest and highest value, or the limits; counts of accesses begin at 0."""
        if self.limits is not None:
            return self.limits
        known = self.values[~np.isnan(self.values)]
        if not known.size:
            return 0.0, 0.0
        low, high = float(known.min()), float(known.max())
        return (low if self.unit == "" else 0.0), high


def on_one_scale(heatmaps: Sequence[Heatmap], most: float | None = None) -> list[Heatmap]:
    """Give maps of one kind the same scale, up to ``most`` or the highest value of all.

    Otherwise the same colour would be a different value in each of them.
    """
    scales = [each.scale for each in heatmaps]
    low = min((each[0] for each in scales), default=0.0)
    high = max((each[1] for each in scales), default=0.0) if most is None else most
    return [replace(each, limits=(min(low, high), high)) for each in heatmaps]


def _edges(first: int, last: int, count: int) -> list[int]:
    return [first + (last - first) * index // count for index in range(count + 1)]


def recorded(series: Series) -> tuple[int, int]:
    """Return the begin of the first and the end of the last snapshot (ns), (0, 0) if none."""
    if not len(series):
        return 0, 0
    return int(series.begin.min()), int(series.end.max())


def with_past(series: Series) -> tuple[int, int]:
    """Return the recorded time, extended by the ages of the first snapshot."""
    begin, end = recorded(series)
    if len(series):
        oldest = int(series.snapshot(0).age.max(initial=0))
        begin -= min(oldest * int(series.aggregation[0]) * 1000, _LONGEST)
    return begin, end


def by_target(series: Series) -> list[Series]:
    """Split a series with known targets by target, as addresses of two cannot be compared."""
    if series.source.target != UNKNOWN or series.targets in ([], [UNKNOWN]):
        return [series]
    return [series.of_target(target) for target in series.targets]


def areas(series: Series) -> list[Area]:
    """Return the address space of all snapshots without their common gaps."""
    regions = series.regions
    order = np.argsort(regions.start, kind="stable")
    order = order[(regions.end > regions.start)[order]]
    if not len(order):
        return []
    start, furthest = regions.start[order], np.maximum.accumulate(regions.end[order])
    first = np.flatnonzero(np.concatenate(([True], start[1:] > furthest[:-1])))
    last = np.concatenate((first[1:], [len(order)])) - 1
    accesses = (regions.size.astype(np.float64) * regions.accesses)[order]
    rate = accesses_per_second(accesses, series.aggregation[series.of_row][order])
    sums, rates = np.add.reduceat(accesses, first), np.add.reduceat(rate, first)
    return [
        Area(
            int(start[low]),
            int(furthest[high]),
            float(total),
            float(hz) / int(furthest[high] - start[low]) / len(series),
        )
        for low, high, total, hz in zip(first, last, sums, rates, strict=True)
    ]


def hottest(found: Sequence[Area]) -> Area:
    """Return the area with the most accesses per length; among equals, the largest."""
    return max(found, key=lambda each: (each.hotness, each.size))


def within(series: Series, area: Area) -> Series:
    """Return the regions in an area, cut at its ends."""
    return cut(series, (area.start, area.end))


def sorted_by_temperature(
    series: Series,
    *,
    hottest_first: bool = False,
    weights: tuple[int, int, int] | None = None,
) -> Series:
    """Place each snapshot's regions from 0 upwards in order of temperature.

    Size has no weight unless given, as the axis shows it.
    """
    heat = columns(series, weights or (0, *series.source.weights[1:])).temperature
    order = np.lexsort((-heat if hottest_first else heat, series.of_row))
    regions = series.regions.take(order)
    end = np.cumsum(regions.size, dtype=np.uint64)
    before = np.concatenate((np.zeros(1, np.uint64), end))[series.offsets[:-1]]
    end = end - np.repeat(before, np.diff(series.offsets))
    return replace(series, regions=replace(regions, start=end - regions.size, end=end))


def _heat(series: Series, value: Value) -> Array:
    """Return one number for each row; 0 for the bytes that did not pass the filters."""
    regions = series.regions
    interval = series.aggregation[series.of_row]
    if value.kind == "temperature":
        return columns(series).temperature
    if value.kind == "percent":
        return regions.accesses * 100.0 / samples_of_rows(series)
    if value.kind == "hits":
        if regions.hits is None or value.probe >= regions.hits.shape[1]:
            raise ValueError("these snapshots have no hits of that probe")
        return accesses_per_second(regions.hits[:, value.probe], interval)
    rate = accesses_per_second(regions.accesses, interval)
    if value.kind == "passed":
        if regions.passed is None:
            raise ValueError("these snapshots do not say which bytes passed")
        rate = rate * regions.passed / np.maximum(regions.size, 1)
    return rate


def _words(series: Series, value: Value) -> tuple[str, str]:
    if value.kind == "temperature":
        return "temperature", ""
    if value.kind == "percent":
        return "access rate", "%"
    if value.kind == "hits":
        probes = series.source.probes
        name = probes[value.probe] if value.probe < len(probes) else str(value.probe)
        return f"hits of probe {name}", "hits/s"
    passed = " of bytes that passed the filters" if value.kind == "passed" else ""
    return f"accesses{passed}", "accesses/s"


def _positions(values: Array, first: int, last: int, pixels: int) -> Array:
    """Return values as positions in pixels from the first edge, cut to the window."""
    kind = values.dtype.type
    cut: Array = np.clip(values, kind(first), kind(last)) - kind(first)
    return np.minimum(cut.astype(np.float64) * pixels / max(last - first, 1), pixels)


def _rectangles(series: Series, window: Window, shape: tuple[int, int]) -> Rectangles:
    """Return the rectangle of each row on the picture; rows outside have no size."""
    of_row = series.of_row
    age = age_us(series.regions.age, series.aggregation[of_row])
    begin = series.begin[of_row] - np.minimum(age, _LONGEST // 1000) * 1000
    until = np.concatenate(([np.iinfo(np.int64).min], series.end[:-1]))
    begin = np.maximum(begin, np.maximum.accumulate(until)[of_row])
    end = np.maximum(series.end[of_row], begin)
    del age
    return Rectangles(
        _positions(begin, window.begin, window.end, shape[0]),
        _positions(end, window.begin, window.end, shape[0]),
        _positions(series.regions.start, window.start, window.stop, shape[1]),
        _positions(series.regions.end, window.start, window.stop, shape[1]),
        shape,
    )


def _layers(series: Series, rectangles: Rectangles) -> Array | float:
    """Return how often each pixel is covered, at least 1; several processes may cover it."""
    if series.source.ops == "paddr" or (series.regions.target != UNKNOWN).all():
        return 1.0
    share = painted(rectangles, np.ones(len(rectangles)))
    return np.where(share > 1 + _DUST, share, 1.0)


def heatmap(
    series: Series,
    window: Window,
    resolution: tuple[int, int],
    value: Value | None = None,
    *,
    sorted_as: str = "",
) -> Heatmap:
    """Paint a window of a series, of pixels ``resolution`` (time, address).

    Temperature and percent are means over the covered part of a pixel; all others are sums, so that
    heat is preserved: the sum of pixels times their time and bytes is that of the regions in the
    window. If the process of regions is unknown, several may have the same addresses, and their
    mean is shown. ``sorted_as`` is the order of a sorted series. Raises ValueError if the snapshots
    lack the requested value.
    """
    asked = value or Value()
    heat = _heat(series, asked)
    everything = _rectangles(series, window, resolution)
    seen = np.flatnonzero((everything.right > everything.left) & (everything.high > everything.low))
    rectangles, heat = everything.take(seen), heat[seen]
    del everything, seen
    known = covered(rectangles) > 0
    if asked.kind in ("temperature", "percent"):
        sums = painted(rectangles, heat)
        share = painted(rectangles, np.ones(len(rectangles)))
        values = np.divide(sums, share, out=np.zeros_like(sums), where=share > 0)
    else:
        over = _layers(series, rectangles)
        warm = np.flatnonzero(heat)
        rectangles, heat = rectangles.take(warm), heat[warm]
        # running sums leave rounding errors in empty pixels: exact counts identify them
        values = np.where(covered(rectangles) > 0, np.maximum(painted(rectangles, heat), 0), 0)
        values = values / over
    shows, unit = _words(series, asked)
    return Heatmap(
        series.source.name,
        np.where(known, values, np.nan),
        window,
        shows,
        unit,
        recorded(series)[0],
        sorted_as,
    )
