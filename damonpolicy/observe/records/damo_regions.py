"""Values in damo's form: numbers such as ``94,827,419`` and ``3 m 20 s``, filters, and snapshots.

Plain numbers are accepted too, as by damo itself. Snapshots are read into columns as they come, as
a file has millions of regions: as Python objects they would take ten times the memory until the
whole file is read.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.observe.records.json_stream import JsonStream
from damonpolicy.observe.regions import Array, Regions, Series, Table, stacked
from damonpolicy.observe.temperature import samples_of_rows
from damonpolicy.plan.facts import Filter
from damonpolicy.policy.importer.damo_values import SIZES, TIMES

__all__ = (
    "MICRO",
    "Malformed",
    "Snapshots",
    "filter_for_damo",
    "filter_of",
    "number",
    "regions_of",
)

Kind = dict[str, Fraction]
"""The value of each unit; the empty one is for bare numbers."""


def _times(unit: int) -> Kind:
    return {"": Fraction(1), **{name: Fraction(each, unit) for name, each in TIMES.items()}}


BYTES: Kind = {"": Fraction(1), **{name: Fraction(each) for name, each in SIZES.items()}}
NANO, MICRO = _times(1), _times(TIMES["us"])
PLAIN: Kind = {"": Fraction(1), "%": Fraction(1)}
_LARGEST = (1 << 64) - 1
_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z%]*) ?")
_LONGEST = 100


class Malformed(ValueError):
    """A value that cannot be read; the text gives the reason."""


def number(value: Any, units: Kind = PLAIN, *, least: int = 0) -> int:
    """Read a number of 64 bits; fractions of the smallest unit are rounded."""
    # nearly all are one of these two, and a file has millions
    if type(value) is int and 0 <= value <= _LARGEST:
        return value
    if type(value) is str and len(value) < 20 and value.isdecimal() and value.isascii():
        return int(value)
    if isinstance(value, str):
        text = value.replace(",", "").strip()
        if text.isascii() and text.isdecimal() and len(text) <= 20:
            value = int(text)
        elif text == "max":
            value = _LARGEST
        else:
            value = _amount(text, units)
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise Malformed(f"`{str(value)[:40]}` is not a number")
    if not least <= value <= _LARGEST:  # neither for text that is not a number
        raise Malformed(f"`{str(value)[:40]}` is not a number of 64 bits")
    return round(value)


def _amount(text: str, units: Kind) -> Fraction | int:
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    parts = _PARTS.findall(rest)
    if not parts or len(text) > _LONGEST or not re.fullmatch(f"(?:{_PARTS.pattern})+", rest):
        raise Malformed(f"`{text[:40]}` is not a number")
    unknown = [unit for _, unit in parts if unit not in units]
    if unknown:
        raise Malformed(f"`{text[:40]}`: `{unknown[0][:20]}` is not a unit of it")
    return sign * sum((Fraction(amount) * units[unit] for amount, unit in parts), Fraction(0))


def filter_of(each: Mapping[str, Any]) -> Filter:
    """Read a filter of a scheme."""
    kind, path, low, high = str(each["filter_type"]), "", 0, 0
    if kind == "memcg":
        path = str(each.get("memcg_path", ""))
    elif kind == "addr":
        low, high = (number(each["address_range"][name], BYTES) for name in ("start", "end"))
    elif kind == "target":
        low = number(each["damon_target_idx"])
    elif kind == "hugepage_size":
        low, high = (number(end, BYTES) for end in each["hugepage_size"])
    elif kind == "probe_hits_wsum":
        low, high = (number(end) for end in each["probe_hits_wsum_range"])
    allow = each.get("allow", each.get("filter_pass", False))  # its name until damo 2.7
    return Filter(kind, _truth(each["matching"]), _truth(allow), path, low, high)


def filter_for_damo(each: Filter) -> dict[str, Any]:
    """Return a filter in damo's form."""
    ends = [str(each.low), str(each.high)]
    made: dict[str, Any] = {
        "filter_type": each.type,
        "matching": each.matching,
        "allow": each.allow,
        "memcg_path": each.path,
        "address_range": None,
        "damon_target_idx": str(each.low) if each.type == "target" else None,
        "hugepage_size": ends if each.type == "hugepage_size" else None,
    }
    if each.type == "addr":
        made["address_range"] = {"start": ends[0], "end": ends[1]}
    elif each.type == "probe_hits_wsum":
        made["probe_hits_wsum_range"] = ends
    return made


def _truth(value: Any) -> bool:
    if not isinstance(value, bool | str) or str(value).lower() not in _TRUTHS:
        raise Malformed(f"`{str(value)[:40]}` is neither true nor false")
    return _TRUTHS[str(value).lower()]


_TRUTHS = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}

_NONE = -2
"""The placeholder for unknown values; -1 is damo's for something that is not a region."""

_U32 = (1 << 32) - 1
_LEAST_NANOSECONDS = 100_000


@dataclass(frozen=True, slots=True)
class Rows(Table):
    """Regions: accesses and ages in either unit, -2 where unknown."""

    start: Array
    end: Array
    samples: Array
    percent: Array
    age: Array
    microseconds: Array
    passed: Array | None
    hits: Array | None


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
    percent = np.maximum(rows.percent, 0) * samples_of_rows(series) // 100
    aggregation = np.maximum(series.aggregation, 1)[series.of_row]
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
