"""Streaming of damo's snapshots into columns, as a file has millions of regions.

As Python objects they would take ten times the memory until the whole file is read.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.observe.records.damo_values import BYTES, MICRO, NANO, Malformed, number
from damonpolicy.observe.records.json_stream import JsonStream
from damonpolicy.observe.regions import Array, Regions, Series, stacked

__all__ = ("Rows", "Snapshots", "regions_of")

_NONE = -2
"""The placeholder for unknown values; -1 is damo's for something that is not a region."""

_U32 = (1 << 32) - 1
_LEAST_NANOSECONDS = 100_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Regions: accesses and ages in either unit, -2 where unknown."""

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


class Snapshots:
    """The snapshots of one record, column by column."""

    def __init__(self) -> None:
        self.begin, self.end = array("q"), array("q")
        self.tuned = array("q")
        """The sampling interval in microseconds, 0 where unknown."""
        self.counts = array("q")
        self._parts: list[Rows] = []
        self._waiting: list[Any] = []

    def read(self, stream: JsonStream) -> None:
        """Read a list of snapshots."""
        for batch in stream.batches():
            if batch is None:
                self._large(stream)
                continue
            for each in batch:
                rows = each["regions"]
                if not isinstance(rows, list):
                    raise Malformed("`regions` is not a list")
                self._add(each, len(rows))
                self._waiting += rows
            self._pack()
        self._pack()

    def _large(self, stream: JsonStream) -> None:
        """Read a snapshot that is too large to read at once."""
        head: dict[str, Any] = {}
        count = -1
        for key in stream.names():
            if key == "regions" and count < 0:
                count = 0
                for batch in stream.batches():
                    if batch is None:
                        raise Malformed("a region is too large")
                    self._waiting += batch
                    count += len(batch)
                    self._pack()
            elif key in ("start_time", "end_time", "sample_interval_us"):
                head[key] = stream.value()
            else:
                stream.skip()
        if count < 0:
            raise KeyError("regions")
        self._add(head, count)

    def _add(self, head: dict[str, Any], count: int) -> None:
        self.begin.append(number(head["start_time"], NANO))
        self.end.append(number(head["end_time"], NANO))
        self.tuned.append(_tuned(head.get("sample_interval_us")))
        self.counts.append(count)

    def _pack(self) -> None:
        """Convert the collected regions to columns."""
        rows, self._waiting = self._waiting, []
        if rows:
            try:
                self._parts.append(_usual(rows))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                self._parts.append(_any(rows))

    def rows(self) -> Rows:
        """Return all regions, without columns that some of them lack."""
        if not self._parts:
            return _any([])
        parts, self._parts = self._parts, []
        return stacked(parts)


def _tuned(value: Any) -> int:
    """Read a tuned sampling interval: damo 3.4.3 writes nanoseconds there, despite its name.

    It reads them as microseconds, as a fixed version would: nobody samples every 100 µs.
    """
    found = 0 if value is None else number(value, MICRO)
    plain = not isinstance(value, str) or value.isdecimal()
    return found // 1000 if plain and found >= _LEAST_NANOSECONDS else found


def _usual(rows: list[dict[str, Any]]) -> Rows:
    """Read damo's current form; raises an error for any other, which is then read by `_any`."""
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
        *_more(rows),
    )


def _any(rows: list[dict[str, Any]]) -> Rows:
    """Read the form of any version, number by number."""
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
        *_more(rows),
    )


def _more(rows: list[dict[str, Any]]) -> tuple[Array | None, Array | None]:
    """Return passed bytes and hits of probes; None if some regions lack them."""
    passed = [each.get("sz_filter_passed") for each in rows]
    hits: list[Any] = [each.get("probe_hits") for each in rows]
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


def regions_of(rows: Rows, series: Series, target: int, *, kept: bool) -> Regions:
    """Convert accesses in percent and ages in time to counts, with the intervals of ``series``.

    Passed bytes that are all 0 are left out unless ``kept``.
    """
    counted = rows.samples != _NONE
    if (~counted & (rows.percent == _NONE)).any():
        raise Malformed("a region without accesses")
    counts = np.diff(series.offsets)
    samples = np.maximum(series.aggregation // np.maximum(series.sample, 1), 1)
    percent = np.maximum(rows.percent, 0) * np.repeat(samples, counts) // 100
    aggregation = np.repeat(np.maximum(series.aggregation, 1), counts)
    lasted = np.maximum(rows.microseconds, 0) // aggregation
    passed = rows.passed
    return Regions(
        rows.start,
        rows.end,
        _counts(np.where(counted, rows.samples, percent)),
        _counts(np.where(rows.age == _NONE, lasted, rows.age)),
        np.full(len(rows), target, np.int32),
        passed if passed is not None and (kept or passed.any()) else None,
        rows.hits,
    )
