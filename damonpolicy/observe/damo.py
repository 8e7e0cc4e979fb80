"""Records of damo: JSON, compressed by zlib or plain, and text as `perf script` prints it.

A file is a list of records, one for each kdamond, scheme and target::

    [{kdamond_idx, context_idx, intervals | null, scheme_idx, target_id, scheme_filters, data_source,
      snapshots: [{start_time, end_time, total_bytes, damos_stats, sample_interval_us,
        regions: [{start, end, nr_accesses: {samples, percent}, age: {usec, aggr_intervals},
                   probe_hits, sz_filter_passed}]}]}]

Files of older versions lack some of it. What only we know is below a key of our own, which damo
does not look at: so what we write is read as it was. What damo did not record is guessed, for no
number can be had without: see `guessed`.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from damonpolicy.errors import PolicyInvalid, UsageError
from damonpolicy.observe import damo_text
from damonpolicy.observe.damo_regions import Rows, compact, most_samples, regions_of
from damonpolicy.observe.damo_values import (
    MICRO,
    NANO,
    Malformed,
    filters_in_words,
    filters_of_words,
    number,
)
from damonpolicy.observe.parquet import source_of
from damonpolicy.observe.regions import UNKNOWN, Array, Regions, Series, Source
from damonpolicy.observe.whole import whole_file
from damonpolicy.recursion import deep

__all__ = ("FORMS", "read", "write")

FORMS = ("json_compressed", "json", "perf_script")
_OURS = "damonpolicy"
_LARGEST = 4 << 30
_SMALL = 64 << 20
_RATIO = 250
"""Records shrink to a fiftieth; what shrinks more, and is not small, was made to fill memory."""

_CHUNK = 1 << 20
_LEAST_NANOSECONDS = 100_000


def read(path: str) -> list[Series]:
    """Read a record of any form.

    Raises PolicyInvalid where it cannot be read, OSError where the file cannot.
    """
    try:
        data = _content(path)
        if data.lstrip()[:1] not in (b"[", b"{"):
            return damo_text.read(data.decode("utf-8", "replace"))
        with deep():
            found = json.loads(data, object_hook=compact, parse_constant=_constant)
        del data
        return _joined([_record(each, index) for index, each in enumerate(_list(found))])
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
    raise PolicyInvalid(f"`{path}` cannot be read as a record of damo: {reason}", hint=hint)


def _content(path: str) -> bytes:
    """Return the content, and not more than a machine can bear."""
    size = os.stat(path).st_size
    if size > _LARGEST:
        raise Malformed(f"it has more than {_LARGEST >> 30} GiB")
    with open(path, "rb") as file:
        first = file.read(1)
        if first != b"\x78":
            return first + file.read(_LARGEST)
        most = min(max(size * _RATIO, _SMALL), _LARGEST)
        unpacking, parts, unpacked, chunk = zlib.decompressobj(), [], 0, first
        while chunk and not unpacking.eof:
            parts.append(unpacking.decompress(chunk, most + 1 - unpacked))
            unpacked += len(parts[-1])
            if unpacked > most:
                raise Malformed(f"it unpacks to more than {most >> 20} MiB")
            chunk = unpacking.unconsumed_tail or file.read(_CHUNK)
        if not unpacking.eof:
            raise Malformed("it ends in the middle")
    return b"".join(parts)


def _constant(name: str) -> None:
    raise Malformed(f"`{name}` is not a number")


def _list(value: Any) -> list[Any]:
    if isinstance(value, dict) and "record_list" in value:  # damo's own next version
        value = value["record_list"]
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Malformed("it is not a list of records")
    return value


def _maybe(value: Any, *units: Any) -> int | None:
    return None if value is None else number(value, *units)


def _record(found: dict[str, Any], index: int) -> tuple[int, Series]:
    """Make a series of a record, and tell which of our own it is a part of (-1: of none)."""
    try:
        ours = found.get(_OURS)
        series = _plain(found)
        if ours is None:
            return -1, series
        sample, aggregation = (np.array(ours[name], np.int64) for name in ("sample", "aggregation"))
        if sample.shape != series.begin.shape or aggregation.shape != series.begin.shape:
            raise Malformed("intervals of some snapshots are missing")
        source = source_of(ours["source"])
        series.regions.target[:] = number(ours["target"], least=UNKNOWN)
        own = replace(series, source=source, sample=sample, aggregation=aggregation)
        return int(ours["part"]), own
    except KeyError as error:
        raise Malformed(f"record {index}: {error} is missing") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise Malformed(f"record {index}: {error}") from error


def _plain(found: dict[str, Any]) -> Series:
    """Make a series of what damo wrote."""
    snapshots = found["snapshots"]
    begin = np.array([number(each["start_time"], NANO) for each in snapshots], np.int64)
    end = np.array([number(each["end_time"], NANO) for each in snapshots], np.int64)
    sample, aggregation = _intervals(found, snapshots)
    rows: list[Rows] = [each["regions"] for each in snapshots]
    scheme = found.get("scheme_idx")
    # damo writes 0 where nothing is told
    kept = scheme is not None or bool(found.get("scheme_filters")) or _OURS in found
    target = found.get("target_id")
    known = target is not None and number(target) < 1 << 31
    slot = _maybe(found.get("kdamond_idx")) or 0
    source = Source(
        "damon_stat" if found.get("data_source") == "damon_stat" else f"slot {slot}",
        scheme="" if scheme is None else str(number(scheme)),
        target=number(target) if known else UNKNOWN,
        slot=slot,
        scheme_index=_maybe(scheme) or 0,
        filters=filters_in_words(found.get("scheme_filters") or ()),
        # an address of the kernel's, in old versions
        targets=() if known or target is None else (f"id {number(target)}",),
        origin="damo",
    )
    offsets = np.concatenate(([0], np.cumsum([len(each) for each in rows]))).astype(np.int64)
    series = Series(source, begin, end, sample, aggregation, offsets, Regions.of((), (), (), ()))
    series = damo_text.guessed(series, most_samples(rows))
    return replace(series, regions=regions_of(rows, series, source.target, kept=kept))


def _intervals(found: dict[str, Any], snapshots: list[Any]) -> tuple[Array, Array]:
    """Return both intervals of each snapshot, 0 where nobody knows them.

    Tuning moves both by the same factor (mm/damon/core.c: kdamond_tune_intervals()).
    """
    intervals = found.get("intervals")
    if intervals is None:
        return np.zeros(len(snapshots), np.int64), np.zeros(len(snapshots), np.int64)
    sample = number(intervals["sample_us"], MICRO)
    aggregation = number(intervals["aggr_us"], MICRO)
    own = [_tuned(each.get("sample_interval_us")) or sample for each in snapshots]
    samples = np.array(own, np.int64)
    if not sample:
        return samples, np.full(len(own), aggregation, np.int64)
    return samples, np.array([aggregation * each // sample for each in own], np.int64)


def _tuned(value: Any) -> int:
    """Read a tuned sampling interval: damo 3.4.3 writes nanoseconds there, despite its name.

    It reads them as microseconds, and so does who mends it: nobody samples each 100 µs.
    """
    found = _maybe(value, MICRO) or 0
    plain = not isinstance(value, str) or value.isdecimal()
    return found // 1000 if plain and found >= _LEAST_NANOSECONDS else found


def _joined(found: list[tuple[int, Series]]) -> list[Series]:
    """Put together what we took apart because damo has one record for each target."""
    made: list[Series] = []
    parts: dict[int, list[Series]] = {}
    for part, series in found:
        if part < 0:
            made.append(series)
        elif part in parts:
            parts[part].append(series)
        else:
            parts[part] = [series]
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
    """Write records for damo; the file is there once it is whole, with mode 0600.

    JSON keeps everything. Text keeps neither intervals nor begins, nor what passed filters, nor
    snapshots without regions: damo has no place for them there. Raises UsageError where none is left.
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
        "intervals": _intervals_json(series),
        "scheme_idx": source.scheme_index if source.scheme else None,
        "target_id": None if known == UNKNOWN else known,
        "scheme_filters": filters_of_words(source.filters),
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
            "sample_interval_us": str(sample) if sample else None,
        }
        yield (",\n" if index else "\n") + json.dumps(snapshot)[:-1] + ', "regions": ['
        yield ",\n".join(_regions_json(regions))
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


def _regions_json(regions: Regions) -> Iterator[str]:
    columns: list[list[Any]] = [
        each.tolist() for each in (regions.start, regions.end, regions.accesses, regions.age)
    ]
    columns.append([None] * len(regions) if regions.passed is None else regions.passed.tolist())
    columns.append([[]] * len(regions) if regions.hits is None else regions.hits.tolist())
    for start, end, accesses, age, passed, hits in zip(*columns, strict=True):
        told = "" if passed is None else f', "sz_filter_passed": "{passed}"'
        yield (
            f'{{"start": "{start}", "end": "{end}",'
            f' "nr_accesses": {{"samples": {accesses}, "percent": null}},'
            f' "age": {{"usec": null, "aggr_intervals": "{age}"}}, "probe_hits": {hits}{told}}}'
        )
