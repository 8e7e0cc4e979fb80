"""Reader and writer of records in every form; the content of a file decides its form.

Snapshots are written as they come, or series at once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.observe.records import damo, parquet, parquet_read
from damonpolicy.observe.records.sink import Sink
from damonpolicy.observe.regions import (
    Regions,
    Series,
    Source,
    offsets_of,
    series_of,
    stacked,
    taken,
)

__all__ = ("FORMS", "Tally", "convert", "form_of", "joined", "load", "sink_of", "write")

FORMS = {
    "parquet": "",
    "damo": "json_compressed",
    "damo-json": "json",
    "perf-script": "perf_script",
}
"""Names of forms, and damo's names for them."""

_LATEST = 1 << 62
"""Nanoseconds since the epoch: 2116."""

_LONGEST = 1 << 50
"""Microseconds: 35 years."""

_ROW = 44
"""Bytes of a region in memory, as its size on disk in damo's forms is unknown in advance."""

_SUFFIXES = {".parquet": "parquet", ".json": "damo-json", ".txt": "perf-script"}
_OTHERS = {
    b"PERFILE2": "`perf script -i FILE > TEXT` makes text of it",
    b"\x17\x08Dtracing": "`trace-cmd report FILE > TEXT` makes text of it",
    b"\x1f\x8b": "unpack it with `gunzip`",
    b"\x28\xb5\x2f\xfd": "unpack it with `unzstd`",
}


def load(path: str) -> list[Series]:
    """Read a record: Parquet of ours, or what damo, `perf script` and `trace-cmd report` write.

    Raises PolicyInvalid for any other form, OSError if the file cannot be read.
    """
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # `open` has a clear message for those
        hint = "a record is read more than once: write it to a file first"
        raise PolicyInvalid(f"`{path}` is a pipe or a device", hint=hint)
    with open(path, "rb") as file:
        first = file.read(10)
    if first.startswith(parquet.MAGIC):
        return [_checked(each, path) for each in parquet_read.read(path)]
    for magic, hint in _OTHERS.items():
        if first.startswith(magic):
            raise PolicyInvalid(f"`{path}` is a file of another program", hint=hint)
    if not first:
        raise PolicyInvalid(f"`{path}` is empty")
    return [_checked(each, path) for each in damo.read(path)]


def _checked(series: Series, path: str) -> Series:
    """Refuse numbers that no kernel reports, and whose products would overflow."""
    regions = series.regions
    for what, most, columns in (
        ("a time", _LATEST, [series.begin, series.end]),
        ("an interval", _LONGEST, [series.sample, series.aggregation]),
        ("a target", _LATEST, [regions.target + 1]),
    ):
        if any(((each < 0) | (each > most)).any() for each in columns):
            raise PolicyInvalid(f"`{path}` cannot be read as a record: {what} is out of range")
    if (regions.start > regions.end).any():
        raise PolicyInvalid(f"`{path}` cannot be read as a record: a region ends before it begins")
    return series


def form_of(path: str) -> str:
    """Return the form that a file's name selects; damo's by default."""
    for suffix, form in _SUFFIXES.items():
        if path.endswith(suffix):
            return form
    return "damo"


def write(path: str, series: Sequence[Series], form: str) -> None:
    """Write a record in one of `FORMS`, atomically and with mode 0600."""
    if form == "parquet":
        parquet.write(path, series)
    else:
        damo.write(path, series, FORMS[form])


def convert(paths: Iterable[str], out: str, form: str = "") -> list[Series]:
    """Write records as one, in another form, and return its content."""
    series = joined([each for path in paths for each in load(path)])
    write(out, series, form or form_of(out))
    return series


def joined(series: Iterable[Series]) -> list[Series]:
    """Concatenate series of the same source, such as the files of one recording."""
    parts: dict[Source, list[Series]] = {}
    for each in series:
        parts.setdefault(each.source, []).append(each)
    return [own[0] if len(own) == 1 else _after(own) for own in parts.values()]


def _after(own: list[Series]) -> Series:
    """Join series in the order of time; those of one recording do not overlap."""
    own = sorted((each for each in own if len(each)), key=lambda each: int(each.begin[0])) or own
    counts = np.concatenate([np.diff(each.offsets) for each in own])
    regions = Regions.joined([each.regions for each in own])
    whole = replace(stacked(own), offsets=offsets_of(counts), regions=regions)
    return whole if (np.diff(whole.end) >= 0).all() else _by_time(whole)


def _by_time(series: Series) -> Series:
    """Sort snapshots by their ends."""
    order = np.argsort(series.end, kind="stable")
    counts = np.diff(series.offsets)[order]
    offsets = offsets_of(counts)
    # each row's index in its snapshot, plus the snapshot's old offset
    rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - series.offsets[:-1][order], counts)
    return replace(taken(series, order), offsets=offsets, regions=series.regions.take(rows))


class _Collector(Sink):
    """A sink that collects a whole file in memory, as damo's forms can only be written at once.

    Files follow each other as those of `parquet.Writer` do; ``limit_bytes`` is about memory.
    """

    def __init__(self, path: str, form: str, *, limit_bytes: int, keep: int | None) -> None:
        super().__init__(path, limit_bytes=limit_bytes, keep=keep)
        self._form = form
        self._bytes = 0

    def _grown(self, rows: int) -> None:
        self._bytes += _ROW * (rows + 1)
        if self._limit and self._bytes >= self._limit:
            self.finish()

    def finish(self) -> None:
        if self._waiting:
            series = [series_of(*pair) for pair in self._waiting.items()]
            self.rotation.make(lambda path: write(path, series, self._form), self.taken)
        self._waiting.clear()
        self._bytes = 0


def sink_of(path: str, form: str, *, limit_bytes: int, keep: int | None) -> Sink:
    """Return a sink for one of `FORMS`."""
    if form == "parquet":
        return parquet.Writer(path, limit_bytes=limit_bytes, keep=keep)
    return _Collector(path, form, limit_bytes=limit_bytes, keep=keep)


class Tally:
    """A counter in front of a sink, which shows when there are enough snapshots of each source."""

    def __init__(self, sink: Sink, most: int = 0) -> None:
        self._sink = sink
        self._most = most
        self._counts: dict[Source, int] = {}

    def add(self, source: Source, *snapshot: Any) -> None:
        """Add a snapshot to the sink, unless there are enough of its source."""
        count = self._counts.setdefault(source, 0)
        if not self._most or count < self._most:
            self._sink.add(source, *snapshot)
            self._counts[source] = count + 1

    def enough(self, sources: list[Source]) -> bool:
        """Return whether there are enough of all these sources."""
        return self._most > 0 and all(self._counts.get(each, 0) >= self._most for each in sources)
