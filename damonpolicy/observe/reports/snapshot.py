"""The report of one snapshot: sorted regions with their numbers, and totals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.observe.collect.merge import together
from damonpolicy.observe.regions import (
    UNKNOWN,
    Array,
    Intervals,
    Regions,
    Series,
    Source,
)
from damonpolicy.observe.reports.select import Columns, columns, in_order
from damonpolicy.observe.temperature import bandwidth, idle_us, plain, working_set

__all__ = ("KEYS", "Grouping", "View", "grouped", "merged", "view")

Key = Literal["address", "size", "access_rate", "age", "temperature", "passed"]
KEYS: tuple[str, ...] = get_args(Key)
Grouping = Literal["scheme", "target", "kdamond"]


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot in display order; ``idle`` is in microseconds, per region."""

    source: Source
    begin: int
    end: int
    intervals: Intervals
    regions: Regions
    columns: Columns
    idle: Array
    as_damo: bool = False

    def __len__(self) -> int:
        return len(self.regions)

    @property
    def passed(self) -> int | None:
        """Bytes that passed the scheme's page filters; None if unknown."""
        return None if self.regions.passed is None else int(self.regions.passed.sum())

    def totals(self) -> dict[str, Any]:
        """Totals of all regions."""
        moved = bandwidth(self.regions, self.intervals.aggregation)
        return {
            "total_bytes": self.regions.total,
            "working_set_bytes": working_set(self.regions),
            "bandwidth_bytes_per_second": round(moved),
            "passed_bytes": self.passed,
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Plain data of each region; unknown values are None."""
        regions, found = self.regions, self.columns
        aged = not self.source.ageless
        for index in range(len(self)):
            target = int(regions.target[index])
            yield {
                "start": int(regions.start[index]),
                "end": int(regions.end[index]),
                "size_bytes": int(found.size[index]),
                "accesses": int(regions.accesses[index]),
                "access_percent": plain(found.percent[index]),
                "age_us": int(found.age[index]) if aged else None,
                "idle_us": int(self.idle[index]) if aged else None,
                "temperature": int(found.temperature[index]) if aged else None,
                "target": None if target == UNKNOWN else target,
                "passed_bytes": None if regions.passed is None else int(regions.passed[index]),
                "probe_hits": None
                if regions.hits is None
                else dict(zip(self.source.probes, map(int, regions.hits[index]), strict=False)),
            }

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Plain data: times in nanoseconds since the epoch; the first ``limit`` regions."""
        source = self.source
        return {
            "kdamond": source.kdamond,
            "scheme": source.scheme or None,
            "target": None if source.target == UNKNOWN else source.target,
            "targets": [asdict(each) for each in source.targets],
            "filters": [asdict(each) for each in source.filters],
            "accesses": {**asdict(source.accesses), "kind": source.accesses.kind or None},
            "begin_ns": self.begin,
            "end_ns": self.end,
            "sample_us": self.intervals.sample,
            "aggregation_us": self.intervals.aggregation,
            "intervals_tuned": source.tuned,
            "intervals_guessed": source.guessed,
            **self.totals(),
            "regions": list(islice(self.rows(), limit)),
        }


def view(
    series: Series,
    index: int,
    *,
    order: str = "address",
    descending: bool = False,
    merge: bool = False,
) -> View:
    """Return one snapshot of a series, in an order of `KEYS`."""
    one = series.between(index, index + 1)
    if merge:
        one = merged(one)
    found = columns(one)
    regions = one.regions
    keys: dict[str, Array] = {
        "address": regions.start,
        "size": found.size,
        "access_rate": regions.accesses,
        "age": found.age,
        "temperature": found.temperature,
        "passed": np.zeros(len(regions)) if regions.passed is None else regions.passed,
    }
    rows = in_order(keys[order], descending=descending)
    ordered = found.take(rows)
    shown = regions.take(rows)
    idle = idle_us(ordered.percent, shown.age, ordered.aggregation)
    begin, end = int(one.begin[0]), int(one.end[0])
    return View(one.source, begin, end, one.intervals(0), shown, ordered, idle, one.as_damo)


def merged(series: Series) -> Series:
    """Unite touching regions with equal access counts and ages; no byte is lost.

    A region that its kdamond has split stays two regions there; people want one.
    """
    regions, of_row = series.regions, series.of_row
    if len(regions) < 2:
        return series
    joins = regions.end[:-1] == regions.start[1:]
    for same in (regions.accesses, regions.age, regions.target, of_row):
        joins &= same[:-1] == same[1:]
    if regions.hits is not None:
        joins &= (regions.hits[:-1] == regions.hits[1:]).all(axis=1)
    first = np.concatenate(([True], ~joins))
    last = np.concatenate((~joins, [True]))
    passed = regions.passed
    if passed is not None:
        passed = np.add.reduceat(passed, np.flatnonzero(first))
    kept = series.where(first)
    return replace(kept, regions=replace(kept.regions, end=regions.end[last], passed=passed))


def grouped(found: Sequence[Series], by: Grouping) -> list[Series]:
    """Return series by scheme as they are, one for each target, or one for each kdamond.

    The schemes of a kdamond are joined by `together`, and, if each is of one target, as in damo's
    text, per target.
    """
    if by == "scheme":
        return list(found)
    if by == "kdamond":
        parts: dict[tuple[object, ...], list[Series]] = {}
        whole = {each.source.kdamond for each in found if each.source.target < 0}
        for each in found:
            source = each.source
            target = UNKNOWN if source.kdamond in whole else source.target
            key = (source.kdamond, target, source.targets if source.origin == "damo" else ())
            parts.setdefault(key, []).append(each)
        return [together(each) for each in parts.values()]
    result: list[Series] = []
    for each in found:
        if not len(each.regions):
            result.append(each)
        result += [each.of_target(target) for target in each.targets]
    return result
