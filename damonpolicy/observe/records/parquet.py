"""Writer of records as Parquet, which pandas, Polars and DuckDB can open.

One row is one region of one snapshot:

=============  =========================  ====================================================
``series``     int32                      which source, an index into the metadata
``kdamond``    dictionary of string       full name of the kdamond
``scheme``     dictionary of string       name of the scheme, empty for trace events
``snapshot``   int64                      number of the snapshot in its series
``begin_time``  timestamp[ns, UTC]         when the aggregation began
``end_time``   timestamp[ns, UTC]         when it ended
``sample_us``  int64                      sampling interval
``aggregation_us``  int64                 aggregation interval
``target``     int32, null: unknown       index of the target
``start``      uint64                     first byte
``end``        uint64                     the byte after the last
``accesses``   uint32                     samples that found it accessed
``age``        uint32                     aggregations
``passed``     uint64, null: not told     bytes that passed the scheme's filters
``hits``       list of uint32, or null    hits of each probe
=============  =========================  ====================================================

A snapshot without regions is one row whose ``start``, ``end``, ``accesses`` and ``age`` are null.
Everything else about the sources is JSON in the metadata ``damonpolicy.sources``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import IO, Any

import numpy as np

from damonpolicy.base import limits, typed
from damonpolicy.base.atomic import WholeFile, whole_file
from damonpolicy.base.errors import UsageError
from damonpolicy.observe.records.checksum import seal
from damonpolicy.observe.records.sink import Sink
from damonpolicy.observe.regions import UNKNOWN, Array, Series, Source, series_of
from damonpolicy.plan.facts import Accesses, Filter, Target

__all__ = ("MAGIC", "SOURCES", "VERSION", "Writer", "arrow", "schema", "source_of", "write")

MAGIC = b"PAR1"
SOURCES = b"damonpolicy.sources"
VERSION = b"damonpolicy.records"
_EARLY_TARGET = re.compile(r"(pid|id) (\d{1,20})(?: \((.*)\))?", re.DOTALL)
_U32 = (1 << 32) - 1
_GROUP_ROWS = 1 << 17
_GROUP_SNAPSHOTS = 1 << 12


def arrow() -> Any:
    """Import pyarrow, with its Parquet."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # it has no stubs
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        hint = "`pip install 'damonpolicy[records]'`; a FILE.data or FILE.json needs none"
        raise UsageError("records as Parquet need pyarrow", hint=hint) from error
    return pa


def schema() -> Any:
    """Return the columns."""
    pa = arrow()
    time = pa.timestamp("ns", tz="UTC")
    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            pa.field("series", pa.int32(), nullable=False),
            pa.field("kdamond", word, nullable=False),
            pa.field("scheme", word, nullable=False),
            pa.field("snapshot", pa.int64(), nullable=False),
            pa.field("begin_time", time, nullable=False),
            pa.field("end_time", time, nullable=False),
            pa.field("sample_us", pa.int64(), nullable=False),
            pa.field("aggregation_us", pa.int64(), nullable=False),
            pa.field("target", pa.int32()),
            pa.field("start", pa.uint64()),
            pa.field("end", pa.uint64()),
            pa.field("accesses", pa.uint32()),
            pa.field("age", pa.uint32()),
            pa.field("passed", pa.uint64()),
            pa.field("hits", pa.list_(pa.uint32())),
        ]
    )


def _metadata(sources: list[Source]) -> dict[bytes, bytes]:
    """Return the data of sources, by index."""
    return {VERSION: b"1", SOURCES: json.dumps([asdict(each) for each in sources]).encode()}


def source_of(values: Any) -> Source:
    """Read a source from JSON, without a newer version's additional keys.

    Raises TypeError or ValueError for a value of the wrong type, or out of the kernel's range.
    """
    known = {each.name: values[each.name] for each in fields(Source) if each.name in dict(values)}
    like = asdict(Source(""))
    plain: dict[str, Any] = {"filters": [], "accesses": {}, "targets": []}
    made = {name: known.pop(name, nothing) for name, nothing in plain.items()}
    for name, value in known.items():
        if name == "weights":
            size, rate, age = (_whole(name, each, 0, _U32) for each in value)
            known[name] = (size, rate, age)
        elif isinstance(like[name], tuple):
            known[name] = tuple(_word(str(each)) for each in value)
        elif type(value) is not type(like[name]):
            raise TypeError(f"`{name}` of a source is a {type(value).__name__}")
        elif isinstance(value, str):
            known[name] = _word(value)
        elif type(value) is int:
            known[name] = _whole(name, value, UNKNOWN if name == "target" else 0, _U32 >> 1)
    return Source(**known, **_facts(**made))


def _facts(filters: Any, accesses: Any, targets: Any) -> dict[str, Any]:
    """Read filters, accesses and targets from JSON.

    Early records had words there. Those of filters only prove that there was some filter.
    """
    if isinstance(filters, str):
        filters = [asdict(Filter("unknown", matching=True, allow=False))] if filters else []
    listed = typed.sequence(filters, "`filters`")
    if len(listed) > limits.RECORD_FILTERS.most:
        raise ValueError(f"a scheme has more than {limits.RECORD_FILTERS.most} filters")
    counted = {"kind": ""} if isinstance(accesses, str) else typed.mapping(accesses, "`accesses`")
    found = tuple(typed.record(Filter, each, "a filter") for each in listed)
    return {
        "filters": tuple(replace(each, path=_word(each.path)) for each in found),
        "accesses": typed.record(Accesses, {**asdict(Accesses()), **counted}, "`accesses`"),
        "targets": tuple(map(_target, typed.sequence(targets, "`targets`"))),
    }


def _target(data: Any) -> Target:
    if isinstance(data, str):
        found = _EARLY_TARGET.fullmatch(data)
        if found is None:  # it was the amount of memory
            return Target()
        kind, number, process = found.groups()
        if kind == "id":
            return Target(id=int(number))
        return Target(pid=int(number), process=_word(process or ""))
    target = typed.record(Target, data, "a target")
    if min(target.pid, target.size_bytes, target.regions, target.id) < 0:
        raise ValueError("a target has a number below 0")
    return replace(target, process=_word(target.process))


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"`{name}` of a source is `{str(value)[:40]}`")
    return value


def _word(text: str) -> str:
    """Return a text without lone surrogates, which JSON may have."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _table(series: Series, number: int, first: int = 0) -> Any:
    """Return a series as rows; ``number`` is its own, ``first`` that of its first snapshot."""
    pa = arrow()
    counts = np.diff(series.offsets)
    rows = np.repeat(np.arange(len(series)), np.maximum(counts, 1))
    # the row of each region; the rows between them are snapshots without regions
    nothing = np.repeat(counts == 0, np.maximum(counts, 1))
    regions = series.regions

    def column(values: Array, kind: Any, missing: Array | None = None) -> Any:
        whole = np.zeros(len(rows), values.dtype)
        whole[~nothing] = values
        mask = nothing.copy()
        if missing is not None:
            mask[~nothing] |= missing
        return pa.array(whole, kind, mask=mask)

    def word(text: str) -> Any:
        return pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(len(rows), np.int32)), [_word(text)]
        )

    columns = schema()
    time = columns.field("begin_time").type
    return pa.table(
        [
            pa.array(np.full(len(rows), number, np.int32)),
            word(series.source.kdamond),
            word(series.source.scheme),
            pa.array(rows + first, pa.int64()),
            pa.array(series.begin[rows], pa.int64()).view(time),
            pa.array(series.end[rows], pa.int64()).view(time),
            pa.array(series.sample[rows], pa.int64()),
            pa.array(series.aggregation[rows], pa.int64()),
            column(regions.target, pa.int32(), regions.target == UNKNOWN),
            column(regions.start, pa.uint64()),
            column(regions.end, pa.uint64()),
            column(regions.accesses, pa.uint32()),
            column(regions.age, pa.uint32()),
            pa.nulls(len(rows), pa.uint64())
            if regions.passed is None
            else column(regions.passed, pa.uint64()),
            _hits(pa, regions.hits, nothing),
        ],
        schema=columns,
    )


def _hits(pa: Any, hits: Array | None, nothing: Array) -> Any:
    kind = pa.list_(pa.uint32())
    if hits is None:
        return pa.nulls(len(nothing), kind)
    lengths = np.where(nothing, 0, hits.shape[1])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(hits.ravel(), pa.uint32()), kind, mask=pa.array(nothing)
    )


def _opened(file: IO[bytes]) -> Any:
    """Begin the content of a file."""
    # addresses and times go up: their differences are small
    rising = ("snapshot", "begin_time", "end_time", "start", "end")
    return arrow().parquet.ParquetWriter(
        file,
        schema(),
        compression="zstd",
        use_dictionary=[each.name for each in schema() if each.name not in rising],
        column_encoding=dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
    )


def write(path: str, series: Sequence[Series]) -> None:
    """Write a record atomically, as a file of mode 0600."""
    with whole_file(path) as file:
        with _opened(file) as content:
            content.add_key_value_metadata(_metadata([each.source for each in series]))
            for number, each in enumerate(series):
                for first in range(0, len(each), _GROUP_SNAPSHOTS):
                    part = each.between(first, min(first + _GROUP_SNAPSHOTS, len(each)))
                    content.write_table(_table(part, number, first), _GROUP_ROWS)
        seal(file)


class Writer(Sink):
    """A writer of snapshots as they come.

    With ``limit_bytes``, a file that has grown past it is finished and the next one begins; the
    newest ``keep`` are left, all by default, and names are those of `Rotation`. Rows are written in groups, so a
    file may be larger by one group. Leaving the context finishes the last file, also after an
    error: what was seen is kept. Without any snapshot there is no file.
    """

    def __init__(self, path: str, *, limit_bytes: int = 0, keep: int | None = None) -> None:
        arrow()
        super().__init__(path, limit_bytes=limit_bytes, keep=keep)
        self._group = min(_GROUP_ROWS, max(limit_bytes // 64, 1)) if limit_bytes else _GROUP_ROWS
        self._sources: dict[Source, tuple[int, int]] = {}
        """The number of each series, and that of its next snapshot."""
        self._rows_waiting = 0
        self._made: WholeFile | None = None
        self._content: Any = None

    @property
    def size(self) -> int:
        """The bytes of the current file, without buffered data."""
        return self._made.file.tell() if self._made else 0

    def _grown(self, rows: int) -> None:
        self._rows_waiting += max(rows, 1)
        if self._rows_waiting >= self._group:
            self._flush()
            if self._limit and self.size >= self._limit:
                self.finish()

    def finish(self) -> None:
        try:
            self._flush()
            if self._made is None:
                return
            self._content.add_key_value_metadata(_metadata(list(self._sources)))
            self._content.close()
            seal(self._made.file)
            self.rotation.finish(self._made, self.taken)
        except BaseException:
            if self._made is not None:
                self._made.discard()
            raise
        finally:
            self._made = self._content = None

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._made is None:
            self._made = WholeFile(self.rotation.path)
            self._content = _opened(self._made.file)
        tables = []
        for source, snapshots in self._waiting.items():
            number, first = self._sources.setdefault(source, (len(self._sources), 0))
            tables.append(_table(series_of(source, snapshots), number, first))
            self._sources[source] = (number, first + len(snapshots))
        self._waiting.clear()
        self._rows_waiting = 0
        self._content.write_table(arrow().concat_tables(tables).unify_dictionaries())
