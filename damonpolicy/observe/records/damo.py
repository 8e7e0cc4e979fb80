"""Reader and writer of damo's records: JSON, plain or zlib, and text of `perf script`.

A file is a list of records, one for each kdamond, scheme and target::

    [{kdamond_idx, context_idx, intervals | null, scheme_idx, target_id, scheme_filters, data_source,
      snapshots: [{start_time, end_time, total_bytes, damos_stats, sample_interval_us,
        regions: [{start, end, nr_accesses: {samples, percent}, age: {usec, aggr_intervals},
                   probe_hits, sz_filter_passed}]}]}]

Files of older versions lack some of it. Our additional data is below a key of our own, which damo
ignores, so that our files are read back unchanged. Data that damo did not record is guessed, as no
number can be computed without it: see `guessed`.
"""

from __future__ import annotations

import json
import os
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

import numpy as np

from damonpolicy.base import limits
from damonpolicy.base.atomic import whole_file
from damonpolicy.base.errors import PolicyInvalid, UsageError
from damonpolicy.base.recursion import deep
from damonpolicy.observe.records import damo_text
from damonpolicy.observe.records.damo_regions import (
    MICRO,
    Malformed,
    Snapshots,
    filter_for_damo,
    filter_of,
    number,
    regions_of,
)
from damonpolicy.observe.records.json_stream import JsonStream
from damonpolicy.observe.records.parquet import source_of
from damonpolicy.observe.regions import UNKNOWN, Array, Regions, Series, offsets_of

__all__ = ("FORMS", "read", "write")

FORMS = ("json_compressed", "json", "perf_script")
_OURS = "damonpolicy"
_CHUNK = 1 << 16
_LONGEST = 1 << 50
"""Microseconds: 35 years."""


def read(path: str) -> list[Series]:
    """Read a record of any form.

    Raises PolicyInvalid if the record cannot be read, OSError if the file cannot.
    """
    code = PolicyInvalid.code
    try:
        pieces = _pieces(path)
        first = b""
        while not first.strip() and (piece := next(pieces, b"")):
            first = piece
        pieces = chain((first,), pieces)
        if first.lstrip()[:1] not in (b"[", b"{"):
            return damo_text.read(pieces)
        with deep():
            stream = JsonStream(pieces)
            found = _joined(list(_records(stream)))
            stream.end()
            return found
    except TooMuch as error:
        code, reason = limits.RECORD.code, str(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except KeyError as error:
        reason = f"{error} is missing"
    except (ValueError, TypeError, AttributeError, OverflowError, zlib.error) as error:
        reason = str(error)[:200]
    hint = (
        "`damonpolicy record` makes records;"
        " `damo report access --input_file FILE` tells whether damo can read this one"
    )
    message = f"`{path}` cannot be read as a record of damo: {reason}"
    raise PolicyInvalid(message, hint=hint, code=code)


class TooMuch(Exception):
    """A record beyond one of the limits."""


def _pieces(path: str) -> Iterator[bytes]:
    """Yield the content piece by piece, up to a limit."""
    size, largest = os.stat(path).st_size, limits.RECORD.most
    most = min(max(size * limits.RECORD_RATIO.most, limits.RECORD_SMALL.most), largest)
    unpacked = 0
    with open(path, "rb") as file:
        first = file.read(_CHUNK)
        if size > largest:
            raise TooMuch(f"it has more than {largest >> 30} GiB")
        if first[:1] != b"\x78":
            while first and unpacked <= largest:
                unpacked += len(first)
                yield first
                first = file.read(_CHUNK)
            return
        unpacking, chunk = zlib.decompressobj(), first
        while chunk and not unpacking.eof:
            piece = unpacking.decompress(chunk, _CHUNK)
            unpacked += len(piece)
            if unpacked > most:
                raise TooMuch(f"it unpacks to more than {most >> 20} MiB")
            if piece:
                yield piece
            chunk = unpacking.unconsumed_tail or file.read(_CHUNK)
        if not unpacking.eof:
            raise Malformed("it ends in the middle")


def _maybe(value: Any) -> int | None:
    return None if value is None else number(value)


def _records(stream: JsonStream) -> Iterator[tuple[int, Series]]:
    """Yield series, each with the index of our own series that it is part of (-1: none)."""
    if stream.peek() != "{":
        yield from _list(stream)
        return
    there = False
    for key in stream.names():  # damo's own next version
        if key == "record_list" and not there:
            there = True
            yield from _list(stream)
        else:
            stream.skip()
    if not there:
        raise Malformed("it is not a list of records")


def _list(stream: JsonStream) -> Iterator[tuple[int, Series]]:
    for index, _ in enumerate(stream.items()):
        if index >= limits.RECORD_SERIES.most:
            raise TooMuch(f"it holds more than {limits.RECORD_SERIES.most:,} records")
        if stream.peek() != "{":
            raise Malformed("it is not a list of records")
        try:
            yield _record(stream)
        except KeyError as error:
            raise Malformed(f"record {index}: {error} is missing") from error
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise Malformed(f"record {index}: {error}") from error


_KNOWN = ("kdamond_idx", "intervals", "scheme_idx", "target_id", "scheme_filters", "data_source")


def _record(stream: JsonStream) -> tuple[int, Series]:
    """Convert a record to a series; return also the index of our own series."""
    found: dict[str, Any] = {}
    ours: dict[str, Any] | None = None
    snapshots: Snapshots | None = None
    for key in stream.names():
        if key == "snapshots":
            if snapshots is not None:
                raise Malformed("`snapshots` appears twice")
            snapshots = Snapshots()
            snapshots.read(stream)
        elif key == _OURS:
            ours = _own(stream)
        elif key in _KNOWN:
            found[key] = stream.value()
        else:
            stream.skip()
    if snapshots is None:
        raise KeyError("snapshots")
    series = _plain(found, snapshots, ours=ours is not None)
    if ours is None:
        return -1, series
    sample, aggregation = ours["sample"], ours["aggregation"]
    if sample.shape != series.begin.shape or aggregation.shape != series.begin.shape:
        raise Malformed("intervals of some snapshots are missing")
    source = source_of(ours["source"])
    series.regions.target[:] = number(ours["target"], least=UNKNOWN)
    own = replace(series, source=source, sample=sample, aggregation=aggregation)
    return int(ours["part"]), own


def _own(stream: JsonStream) -> dict[str, Any] | None:
    """Read our additional data of a record."""
    if stream.peek() != "{":
        if stream.value() is None:
            return None
        raise Malformed(f"`{_OURS}` is not a mapping")
    found: dict[str, Any] = {}
    for key in stream.names():
        if key in ("sample", "aggregation"):
            column = array("q")
            for batch in stream.batches():
                if batch is None:
                    raise Malformed(f"`{key}` is not a list of numbers")
                column.extend(batch)
            found[key] = np.array(column, np.int64)
        else:
            found[key] = stream.value()
    return found


def _plain(found: dict[str, Any], snapshots: Snapshots, *, ours: bool) -> Series:
    """Convert damo's data to a series."""
    sample, aggregation = _intervals(found.get("intervals"), snapshots, ours=ours)
    scheme, filters = found.get("scheme_idx"), found.get("scheme_filters") or ()
    if len(filters) > limits.RECORD_FILTERS.most:
        raise TooMuch(f"a scheme has more than {limits.RECORD_FILTERS.most} filters")
    # damo writes 0 for unknown
    kept = scheme is not None or bool(filters) or ours
    slot = _maybe(found.get("kdamond_idx")) or 0
    rows = snapshots.rows()
    told = (rows.age >= 0) | (rows.microseconds >= 0)
    source = damo_text.source_of(
        "damon_stat" if found.get("data_source") == "damon_stat" else f"slot {slot}",
        _maybe(scheme),
        _maybe(found.get("target_id")),
        slot=slot,
        filters=tuple(map(filter_of, filters)),
        tuned=_tuned(found.get("intervals")),
        ageless=bool(len(rows)) and not told.any(),
    )
    begin, end = np.array(snapshots.begin, np.int64), np.array(snapshots.end, np.int64)
    offsets = offsets_of(snapshots.counts)
    series = Series(source, begin, end, sample, aggregation, offsets, Regions.joined(()))
    series = damo_text.guessed(series, int(rows.samples.max(initial=0)))
    if rows.hits is not None:  # damo has no names for probes
        probes = tuple(str(each) for each in range(rows.hits.shape[1]))
        series = replace(series, source=replace(series.source, probes=probes))
    return replace(series, regions=regions_of(rows, series, source.target, kept=kept))


def _tuned(intervals: Any) -> bool:
    """Return whether the intervals were being tuned."""
    goal = intervals.get("intervals_goal") if isinstance(intervals, dict) else None
    return isinstance(goal, dict) and number(goal.get("aggrs") or 0) > 0


def _intervals(intervals: Any, snapshots: Snapshots, *, ours: bool) -> tuple[Array, Array]:
    """Return both intervals of each snapshot, 0 if unknown.

    Tuning moves both by the same factor (mm/damon/core.c: kdamond_tune_intervals()).
    """
    own = np.array(snapshots.tuned, np.int64)
    if intervals is None:
        return np.zeros_like(own), np.zeros_like(own)
    sample = number(intervals["sample_us"], MICRO)
    aggregation = number(intervals["aggr_us"], MICRO)
    if max(sample, aggregation) > _LONGEST or (own > _LONGEST).any():
        raise Malformed("an interval is out of range")
    samples = np.where(own == 0, sample, own)
    if not sample:
        return samples, np.full(len(own), aggregation, np.int64)
    # with Python's numbers, as the product may have more than 64 bits
    times = {each: aggregation * each // sample for each in np.unique(samples).tolist()}
    if ours:  # replaced by this record's own data
        times = {each: min(product, _LONGEST) for each, product in times.items()}
    if max(times.values(), default=0) > _LONGEST:
        raise Malformed("an interval is out of range")
    return samples, np.array([times[each] for each in samples.tolist()], np.int64)


def _joined(found: list[tuple[int, Series]]) -> list[Series]:
    """Join the records that we split because damo has one for each target."""
    made = [series for part, series in found if part < 0]
    parts: dict[int, list[Series]] = {}
    for part, series in found:
        if part >= 0:
            parts.setdefault(part, []).append(series)
    for own in parts.values():
        first = own[0]
        if any(
            each.source != first.source
            or not np.array_equal(each.end, first.end)
            or not np.array_equal(each.begin, first.begin)
            for each in own
        ):
            raise Malformed("records of several targets do not fit together")
        made.append(first if len(own) == 1 else _together(own))
    return made


def _together(own: list[Series]) -> Series:
    regions = Regions.joined([each.regions for each in own])
    number_of = np.concatenate([each.of_row for each in own])
    order = np.argsort(number_of, kind="stable")
    offsets = sum(each.offsets for each in own[1:]) + own[0].offsets
    return replace(own[0], regions=regions.take(order), offsets=offsets)


def write(path: str, series: Sequence[Series], form: str = "json_compressed") -> None:
    """Write records for damo; the file appears when it is complete, with mode 0600.

    JSON keeps everything. Text loses intervals, begin times, what passed filters, and snapshots
    without regions: damo has no place for them there. Raises UsageError if none is left.
    """
    if form == "perf_script" and not any(len(each.regions) for each in series):
        hint = "write Parquet or JSON"
        raise UsageError("text has no place for snapshots without regions", hint=hint)
    pieces = damo_text.lines(series) if form == "perf_script" else _json(series)
    with whole_file(path) as file:
        pack: Any = zlib.compressobj() if form == "json_compressed" else None
        for piece in pieces:
            data = piece.encode("ascii")
            file.write(pack.compress(data) if pack else data)
        if pack:
            file.write(pack.flush())


def _json(series: Sequence[Series]) -> Iterator[str]:
    between = "[\n"
    for part, each in enumerate(series):
        for target, own in damo_text.by_target(each):
            yield between
            yield from _record_json(own, part, target)
            between = ",\n"
    yield "[]\n" if between == "[\n" else "\n]\n"


def _record_json(series: Series, part: int, target: int) -> Iterator[str]:
    source = series.source
    known = source.target if target == UNKNOWN else target
    head = {
        "kdamond_idx": source.slot,
        "context_idx": 0,
        "intervals": None if source.guessed else _intervals_json(series),
        "scheme_idx": source.scheme_index if source.scheme else None,
        "target_id": None if known == UNKNOWN else known,
        "scheme_filters": [filter_for_damo(each) for each in source.filters],
        "data_source": "damon_stat" if source.kdamond == "damon_stat" else "unknown",
        _OURS: {
            "part": part,
            "target": target,
            "source": asdict(source),
            "sample": series.sample.tolist(),
            "aggregation": series.aggregation.tolist(),
        },
    }
    yield json.dumps(head)[:-1] + ', "snapshots": ['
    for index, regions in enumerate(series):
        sample = int(series.sample[index])
        snapshot = {
            "start_time": str(series.begin[index]),
            "end_time": str(series.end[index]),
            "total_bytes": str(regions.total),
            "damos_stats": None,
            "sample_interval_us": str(sample) if sample and not source.guessed else None,
        }
        yield (",\n" if index else "\n") + json.dumps(snapshot)[:-1] + ', "regions": ['
        yield ",\n".join(_regions_json(regions, ageless=source.ageless))
        yield "]}"
    yield "]}"


def _intervals_json(series: Series) -> dict[str, str] | None:
    if not len(series) or not series.sample[0] or not series.aggregation[0]:
        return None
    first = series.intervals(0)
    return {
        "sample_us": str(first.sample),
        "aggr_us": str(first.aggregation),
        "ops_update_us": "0",
    }


def _regions_json(regions: Regions, *, ageless: bool) -> Iterator[str]:
    columns: list[list[Any]] = [
        each.tolist() for each in (regions.start, regions.end, regions.accesses, regions.age)
    ]
    columns.append([None] * len(regions) if regions.passed is None else regions.passed.tolist())
    columns.append([[]] * len(regions) if regions.hits is None else regions.hits.tolist())
    for start, end, accesses, age, passed, hits in zip(*columns, strict=True):
        lasted = "null" if ageless else f'"{age}"'
        told = "" if passed is None else f', "sz_filter_passed": "{passed}"'
        yield (
            f'{{"start": "{start}", "end": "{end}",'
            f' "nr_accesses": {{"samples": {accesses}, "percent": null}},'
            f' "age": {{"usec": null, "aggr_intervals": {lasted}}}, "probe_hits": {hits}{told}}}'
        )
