"""Merging of several sources' regions of one address space, so that each byte counts once.

Schemes of one kdamond may select the same regions, and so may two kdamonds: a plain sum would count
memory twice. In `together`, the first scheme of a kdamond that shows a byte counts. In `seen`, the part of a region that an earlier source has seen is cut off. Standard
formulas of `temperature` give each region its numbers before that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from itertools import permutations

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.system.memory import Range, united
from damonpolicy.observe.regions import (
    UNKNOWN,
    Array,
    Intervals,
    Regions,
    Series,
    Source,
    Table,
    series_of,
    stacked,
)
from damonpolicy.observe.temperature import access_percent, idle_us, temperature
from damonpolicy.plan.facts import Filter

__all__ = (
    "Part",
    "Seen",
    "counted",
    "filtered",
    "in_ranges",
    "known_target",
    "moments",
    "once",
    "only_cgroups",
    "process_of",
    "rounds",
    "seen",
    "together",
)


@dataclass(frozen=True, slots=True)
class Part:
    """One snapshot of one source."""

    source: Source
    intervals: Intervals
    regions: Regions = field(repr=False)
    as_damo: bool = False


@dataclass(frozen=True, slots=True)
class Seen(Table):
    """Columns of equal length, one row per seen piece of memory.

    No byte counts twice, though pieces may overlap: pages of two cgroups may be interleaved.
    ``start`` and ``end`` are addresses, ``bytes`` what counts of the piece (less than its length
    where page filters let less pass), ``rate`` bytes a second (an estimate, see `bandwidth`),
    ``percent`` the access rate, ``temperature`` that of the whole region, ``idle`` microseconds.
    """

    start: Array
    end: Array
    bytes: Array
    rate: Array
    percent: Array
    temperature: Array
    idle: Array

    @property
    def total(self) -> int:
        """Bytes that count."""
        return int(self.bytes.sum())

    @property
    def bandwidth(self) -> float:
        """Bytes a second, estimated."""
        return float(self.rate.sum())

    @property
    def mean_temperature(self) -> float | None:
        """Mean temperature, weighted by bytes; None where no byte counts."""
        total = self.total
        return float((self.temperature * self.bytes).sum() / total) if total else None

    def idle_for(self, microseconds: int) -> int:
        """Bytes that have been idle for at least the given time."""
        return int(self.bytes[self.idle >= max(microseconds, 1)].sum())


def filtered(source: Source) -> bool:
    """Return whether there are page filters, so that less than a region may pass."""
    return any(not each.core for each in source.filters)


def only_cgroups(source: Source) -> tuple[str, ...]:
    """Return the cgroups if only pages of cgroups pass the filters, or nothing.

    The first filter that matches decides: so either others are rejected before anything is
    allowed, or whatever is allowed is of a cgroup, and the rest is rejected. Cgroups below one
    that is allowed, too, are not named.
    """
    allowed: list[Filter] = []
    for each in source.filters:
        if not each.allow and not each.matching and each.type == "memcg" and not allowed:
            return (each.path,)
        if each.allow:
            allowed.append(each)
    last = bool(allowed) and source.filters[-1].allow
    if not last or not all(each.type == "memcg" and each.matching for each in allowed):
        return ()
    return tuple(each.path for each in allowed if not any(map(each.below, allowed)))


def counted(source: Source, regions: Regions) -> Array:
    """Return the bytes of each region that count: those that passed page filters, if any."""
    size: Array = regions.size.astype(np.int64)
    if regions.passed is None or not filtered(source):
        return size
    passed: Array = np.minimum(regions.passed.astype(np.int64), size)
    return passed


def rounds(series: Sequence[Series]) -> Iterator[list[Part]]:
    """Yield snapshots that belong together, the last first: one of each series.

    All series were read at the same times, so they are counted from their ends; surplus snapshots
    are left out. Series without any snapshot do not matter.
    """
    held = [each for each in series if len(each)]
    for back in range(-1, -1 - min((len(each) for each in held), default=0), -1):
        yield [
            Part(each.source, each.intervals(back), each.snapshot(back), each.as_damo)
            for each in held
        ]


def seen(parts: Sequence[Part]) -> Seen:
    """Return the merged parts of one address space, each byte once.

    An earlier part wins, but parts with page filters come after all others. Pages of different
    cgroups are different. For other filters, it is unknown which pages passed both, so memory that
    an earlier one saw is left out: the sum is a lower bound.
    """
    plain = [part for part in parts if not filtered(part.source)]
    found = [_seen(plain, ())]
    found += [_seen(plain, layer) for layer in _layers(parts)]
    return stacked(found)


def _layers(parts: Sequence[Part]) -> list[list[Part]]:
    """Put filtered parts together, but those of each cgroup apart if no cgroup is in another."""
    some = [part for part in parts if filtered(part.source)]
    layers: dict[tuple[str, ...], list[Part]] = {}
    for part in some:
        layers.setdefault(only_cgroups(part.source), []).append(part)
    names = [name for held in layers for name in held or ("",)]
    apart = all(
        one and not f"{one}/".startswith(f"{other.rstrip('/')}/")
        for one, other in permutations(names, 2)
    )
    return list(layers.values()) if apart else [some]


def _seen(plain: Sequence[Part], layer: Sequence[Part]) -> Seen:
    """Return a layer's pieces outside fully seen memory; without a layer, that memory itself."""
    columns = [_columns(part) for part in (*plain, *layer)]
    if not columns:
        columns = [_columns(Part(Source(""), Intervals(1, 1), Regions.joined(())))]
    whole = stacked(columns)
    if len(columns) < 2:
        return whole
    rows, start, end = once(whole.start, whole.end)
    if layer:
        new = rows >= sum(len(part.regions) for part in plain)
        rows, start, end = rows[new], start[new], end[new]
    pieces = whole.take(rows)
    share = (end - start) / np.maximum(pieces.end - pieces.start, 1)
    held = np.floor(pieces.bytes * share).astype(np.int64)
    return replace(pieces, start=start, end=end, bytes=held, rate=pieces.rate * share)


def _columns(part: Part) -> Seen:
    regions, intervals = part.regions, part.intervals
    percent = access_percent(regions.accesses, intervals.samples, as_damo=part.as_damo)
    held = counted(part.source, regions)
    moved = held.astype(np.float64) * regions.accesses
    return Seen(
        regions.start.astype(np.int64),
        regions.end.astype(np.int64),
        held,
        moved * 1e6 / max(intervals.aggregation, 1),
        percent,
        temperature(regions.size, percent, regions.age, intervals.aggregation, part.source.weights),
        idle_us(percent, regions.age, intervals.aggregation),
    )


def once(start: Array, end: Array) -> tuple[Array, Array, Array]:
    """Cut ranges so that no two overlap; the first of a byte wins.

    Returns for each piece the row that it is of, its start and its end; neighbours of one row
    are one piece.
    """
    edges = np.unique(np.concatenate((start, end)))
    low, high = np.searchsorted(edges, start), np.searchsorted(edges, end)
    count = high - low
    rows = np.repeat(np.arange(len(start)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    cells, first = np.unique(low[rows] + within, return_index=True)
    rows = rows[first]
    if not len(rows):
        return rows, edges[:0], edges[:0]
    joins = (np.diff(rows) != 0) | (np.diff(cells) != 1)
    begins = np.concatenate(([True], joins))
    ends = np.concatenate((joins, [True]))
    return rows[begins], edges[cells[begins]], edges[cells[ends] + 1]


def in_ranges(start: Array, end: Array, ranges: Iterable[Range]) -> Array:
    """Return the bytes of each piece within ranges."""
    merged = united(ranges)
    if not merged:
        return np.zeros(len(start), dtype=np.int64)
    lows = np.array([low for low, _ in merged], dtype=np.int64)
    sizes = np.array([high - low for low, high in merged], dtype=np.int64)
    below = np.concatenate(([0], np.cumsum(sizes)))

    def before(address: Array) -> Array:
        """Return the bytes of the ranges below an address."""
        index = np.searchsorted(lows, address, side="right") - 1
        known = np.maximum(index, 0)
        inside = np.clip(address - lows[known], 0, sizes[known])
        return np.where(index < 0, 0, below[known] + inside)

    result: Array = before(end) - before(start)
    return result


def known_target(series: Series) -> Series:
    """Return a series whose rows tell their target, if only one is possible.

    The kernel's regions of a scheme have no target: it is known if a filter allows a single target,
    or if the kdamond has only one, as with physical memory.
    """
    source, rows = series.source, series.regions
    only = source.target
    if only == UNKNOWN and (len(source.targets) == 1 or source.ops == "paddr"):
        only = 0
    if only == UNKNOWN:
        return series
    told = np.where(rows.target == UNKNOWN, np.int32(only), rows.target)
    return replace(series, regions=replace(rows, target=told))


def process_of(source: Source) -> tuple[int, str] | None:
    """Return the process that is the only target: its pid, and its name if known."""
    if not 0 <= source.target < len(source.targets):
        return None
    found = source.targets[source.target]
    return (found.pid, found.process) if found.pid else None


def together(found: Sequence[Series]) -> Series:
    """Return the merged series of one kdamond; a single or complete series is returned as it is.

    There is at least one. The result has no passed bytes.
    """
    held = sorted(
        (each for each in found if len(each)),
        key=lambda each: each.regions.total // len(each),
        reverse=True,
    )
    if len(held) < 2:
        return (held or found)[0]
    held = [known_target(each) for each in held]
    times = max(held, key=len)
    places = [moments(times, each) for each in held]
    snapshots = []
    for index in range(len(times)):
        parts = [
            each.snapshot(at[index])
            for each, at in zip(held, places, strict=True)
            if at[index] >= 0
        ]
        begin, end = int(times.begin[index]), int(times.end[index])
        snapshots.append((begin, end, times.intervals(index), _united(parts)))
    made = series_of(held[0].source, snapshots)
    if len(times) == len(held[0]) and made.regions.total == held[0].regions.total:
        return held[0]
    source = replace(held[0].source, scheme="", scheme_index=0, filters=(), probes=())
    return replace(made, source=source)


def moments(times: Series, other: Series) -> Array:
    """Return the index of another series' snapshot for each of ``times``; -1 for none.

    In recordings, all series are read together. Otherwise it is the last one that had ended by
    then, within an aggregation.
    """
    if len(other) == len(times):
        return np.arange(len(times))
    until = times.end + times.aggregation * 1_000
    places: Array = np.searchsorted(other.end, until, side="right") - 1
    return places


def _united(parts: Sequence[Regions]) -> Regions:
    """Return the merged rows of the same memory, each byte once, by target."""
    columns = [replace(each, passed=None, hits=None) for each in parts]
    rows = Regions.joined(columns)
    made = [_distinct([each.take(each.target == UNKNOWN) for each in columns])]
    for target in np.unique(rows.target[rows.target != UNKNOWN]):
        own = rows.take(rows.target == target)
        kept, start, end = once(own.start, own.end)
        made.append(replace(own.take(kept), start=start, end=end))
    found = Regions.joined(made)
    return found.take(np.lexsort((found.start, found.target)))


def _distinct(parts: Sequence[Regions]) -> Regions:
    """Return rows with unknown targets, where equal addresses may belong to two targets.

    Each row counts as often as in the part that has it most often.
    """
    most: Counter[tuple[int, ...]] = Counter()
    for part in parts:
        columns = (part.start, part.end, part.accesses, part.age)
        most |= Counter(zip(*(each.tolist() for each in columns), strict=True))
    found = sorted(most.elements())
    return Regions.of(*([row[index] for row in found] for index in range(4)))
