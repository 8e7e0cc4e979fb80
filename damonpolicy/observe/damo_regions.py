"""Regions of damo's records as columns, made snapshot by snapshot: a file has millions.

As Python's own objects they would take ten times the memory until the whole file is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from damonpolicy.observe.damo_values import BYTES, MICRO, Malformed, number
from damonpolicy.observe.regions import Array, Regions, Series

__all__ = ("Rows", "compact", "most_samples", "regions_of")

_NONE = -2
"""Stands for what is not told; -1 is damo's for what is no region."""

_U32 = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """The regions of one snapshot: accesses and ages in either unit, -2 where not told."""

    start: Array
    end: Array
    samples: Array
    percent: Array
    age: Array
    microseconds: Array
    passed: Array | None
    hits: Array | None

    def __len__(self) -> int:
        return len(self.start)


def compact(found: dict[str, Any]) -> dict[str, Any]:
    """Make the regions of a snapshot small as soon as they are read.

    Raises ValueError, KeyError, TypeError or AttributeError for what are none.
    """
    if "regions" in found:
        rows = found["regions"]
        try:
            found["regions"] = _usual(rows)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            found["regions"] = _any(rows)
    return found


def _usual(rows: list[dict[str, Any]]) -> Rows:
    """Read what damo writes today; raises something for all else, so that it is looked at."""
    samples = np.array([each["nr_accesses"]["samples"] for each in rows] or [0])[: len(rows)]
    if samples.dtype.kind != "i":
        raise TypeError
    unknown = np.full(len(rows), _NONE, np.int64)
    return Rows(
        np.array([int(each["start"].replace(",", "")) for each in rows], np.uint64),
        np.array([int(each["end"].replace(",", "")) for each in rows], np.uint64),
        samples,
        unknown,
        np.array([int(each["age"]["aggr_intervals"].replace(",", "")) for each in rows], np.int64),
        unknown,
        *_more(
            [each.get("sz_filter_passed") for each in rows],
            [each.get("probe_hits") for each in rows],
        ),
    )


def _any(rows: Any) -> Rows:
    """Read what any version writes, number by number."""
    if not isinstance(rows, list):
        raise Malformed("`regions` is no list")
    accesses = [each["nr_accesses"] for each in rows]
    ages = [each.get("age") or {} for each in rows]
    least = -1 << 63

    def column(values: Sequence[Any], *units: Any, least: int = -1) -> Array:
        found = [_NONE if each is None else number(each, *units, least=least) for each in values]
        return np.array(found, np.int64)

    return Rows(
        np.array([number(each["start"], BYTES) for each in rows], np.uint64),
        np.array([number(each["end"], BYTES) for each in rows], np.uint64),
        column([each.get("samples") for each in accesses]),
        column([each.get("percent") for each in accesses], least=0),
        column([each.get("aggr_intervals") for each in ages]),
        np.maximum(column([each.get("usec") for each in ages], MICRO, least=least), _NONE),
        *_more(
            [each.get("sz_filter_passed") for each in rows],
            [each.get("probe_hits") for each in rows],
        ),
    )


def _more(passed: list[Any], hits: list[Any]) -> tuple[Array | None, Array | None]:
    """Return bytes that passed and hits of probes; None where some regions do not tell."""
    sizes = None
    if all(each is not None for each in passed):
        sizes = np.array([number(each, BYTES) for each in passed], np.uint64)
    if not hits or not hits[0] or any(len(each or ()) != len(hits[0]) for each in hits):
        return sizes, None
    counts = [[number(each) for each in own] for own in hits]
    return sizes, _counts(np.array(counts, np.int64))


def _counts(values: Array) -> Array:
    if values.max(initial=0) > _U32:
        raise Malformed("a count has more than 32 bits")
    return np.maximum(values, 0).astype(np.uint32)


def most_samples(parts: Sequence[Rows]) -> int:
    """Return the largest count of accesses."""
    return max((int(each.samples.max(initial=0)) for each in parts), default=0)


def regions_of(parts: Sequence[Rows], series: Series, target: int, *, kept: bool) -> Regions:
    """Turn accesses in percent and ages in time into counts, with the intervals of ``series``.

    Bytes that passed are left out unless ``kept``, where they are 0 throughout.
    """
    made = []
    for index, each in enumerate(parts):
        intervals = series.intervals(index)
        counted = each.samples != _NONE
        if (~counted & (each.percent == _NONE)).any():
            raise Malformed("a region without accesses")
        percent = np.maximum(each.percent, 0) * intervals.samples // 100
        lasted = np.maximum(each.microseconds, 0) // max(intervals.aggregation, 1)
        made.append(
            Regions(
                each.start,
                each.end,
                _counts(np.where(counted, each.samples, percent)),
                _counts(np.where(each.age == _NONE, lasted, each.age)),
                np.full(len(each), target, np.int32),
                each.passed,
                each.hits,
            )
        )
    regions = Regions.joined(made)
    if regions.passed is None or kept or regions.passed.any():
        return regions
    return Regions(
        regions.start,
        regions.end,
        regions.accesses,
        regions.age,
        regions.target,
        None,
        regions.hits,
    )
