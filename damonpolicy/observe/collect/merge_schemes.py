"""Merging of simultaneous snapshots of one kdamond's schemes.

Each scheme selects some regions of the same monitoring, so one shows a part of it, and a plain sum
would count memory twice. So the first scheme that shows a byte counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from damonpolicy.observe.collect.merge_sources import known_target, once
from damonpolicy.observe.regions import UNKNOWN, Array, Regions, Series, series_of

__all__ = ("moments", "together")


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
