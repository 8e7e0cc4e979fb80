"""Reader of Parquet records: directly if our checksum is right, otherwise in another process.

A file that others or an older damonpolicy made may crash the process that reads it, or fill the
memory. So another process with limited memory and time reads it, and hands the columns over.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from damonpolicy.base import limits
from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.observe.records.checksum import Damaged, verified
from damonpolicy.observe.records.parquet import SOURCES, VERSION, arrow, schema, source_of
from damonpolicy.observe.regions import UNKNOWN, Array, Regions, Series, Source, offsets_of

__all__ = ("child", "read")

_MOST_PROBES = 16
_MOST_GROUPS, _MOST_COLUMNS = 1 << 16, 64
_ROWS_A_BYTE = 256
"""The most rows per byte of a file that is not small: no machine records more."""

_TIMES_SIZE = 30
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from damonpolicy.observe.records.parquet_read import child; child()"
)
_COLUMNS = ("begin", "end", "sample", "aggregation", "offsets")
_OF_REGIONS = ("start", "end", "accesses", "age", "target", "passed", "hits")


def read(path: str) -> list[Series]:
    """Read a record.

    Raises PolicyInvalid if the file is not a record of ours, or is damaged.
    """
    arrow()
    hint = "a recording that was killed leaves no file under its name"
    code = PolicyInvalid.code
    try:
        return _read(path) if verified(path) else _apart(path)
    except Damaged as error:
        code, reason, hint = "DP0366", str(error), "take another copy of it"
    except _Unread as error:
        code, reason = error.code, str(error)
    raise PolicyInvalid(f"`{path}` cannot be read as a record: {reason}", hint=hint, code=code)


class _Unread(Exception):
    """A record that cannot be read; the text gives the reason."""

    def __init__(self, reason: str, code: str = PolicyInvalid.code) -> None:
        super().__init__(reason)
        self.code = code


def _read(path: str, *, threads: bool = True) -> list[Series]:
    """Read a record in this process."""
    pa = arrow()
    try:
        with pa.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            found = file.schema_arrow.metadata or {}
            found = {**found, **(file.metadata.metadata or {})}
            if SOURCES not in found:
                raise ValueError("it was not written by damonpolicy")
            if found.get(VERSION) != b"1":
                raise ValueError("it was written by a newer damonpolicy")
            _refuse_bombs(file.metadata, os.path.getsize(path))
            sources = [source_of(each) for each in json.loads(found[SOURCES])]
            if len(sources) > limits.RECORD_SERIES.most:
                raise _Unread(f"{len(sources)} series are too many", limits.RECORD.code)
            names = [each.name for each in schema() if each.name not in ("kdamond", "scheme")]
            table = file.read(columns=names, use_threads=threads)
        kept = [each for each in schema() if each.name in names]
        return _series(table.cast(pa.schema(kept)), sources)
    except MemoryError as error:
        raise _Unread("there is not enough memory for it", limits.RECORD_MEMORY.code) from error
    # any error that a damaged file causes in pyarrow and numpy
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, ArithmeticError,
            AttributeError, RecursionError) as error:  # fmt: skip
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _Unread(str(error).partition("\n")[0][:200]) from error


def _refuse_bombs(content: Any, size: int) -> None:
    """Refuse decompression bombs: a few bytes can stand for any number of equal rows."""
    if content.num_row_groups > _MOST_GROUPS or content.num_columns > _MOST_COLUMNS:
        raise _Unread(
            f"{content.num_row_groups} groups of {content.num_columns} columns", limits.RECORD.code
        )
    most = min(max(size * _ROWS_A_BYTE, limits.RECORD_ROWS_SMALL.most), limits.RECORD_ROWS.most)
    if content.num_rows > most:
        raise _Unread(f"{content.num_rows} rows are too many", limits.RECORD.code)
    unpacked = 0
    for index in range(content.num_row_groups):
        group = content.row_group(index)
        for number in range(group.num_columns):
            column = group.column(number)
            unpacked += column.total_uncompressed_size
            if column.num_values > most * _MOST_PROBES:
                raise _Unread(f"{column.num_values} hits are too many", limits.RECORD.code)
    if unpacked > limits.RECORD.most:
        raise _Unread(f"it unpacks to {unpacked >> 20} MiB", limits.RECORD.code)


def _apart(path: str) -> list[Series]:
    """Read a record in another process."""
    package = str(Path(__file__).resolve().parents[3])
    with tempfile.TemporaryFile() as file:
        words = [sys.executable, "-P", "-c", _BOOTSTRAP, package, path, str(file.fileno())]
        alone = {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        done = subprocess.run(
            words, pass_fds=[file.fileno()], env={**os.environ, **alone}, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            cause = f"exit code {done.returncode}"
            if done.returncode < 0:
                cause = signal.Signals(-done.returncode).name
            reason = f"it ends the process that reads it ({cause})"
            raise _Unread(reason, limits.RECORD_MEMORY.code)
        file.seek(0)
        return _received(file)


def child() -> None:
    """Read the record that the first argument names into the open file that the second numbers."""
    path, descriptor = sys.argv[1], int(sys.argv[2])
    arrow().set_cpu_count(1)
    with open("/proc/self/statm", encoding="ascii") as status:
        pages = int(status.read().split()[0])
    memory = limits.RECORD_MEMORY.most + _TIMES_SIZE * os.path.getsize(path)
    memory += pages * resource.getpagesize()
    seconds = limits.RECORD_SECONDS.most
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, hard))
    with open(descriptor, "wb") as file:
        try:
            _hand_over(_read(path, threads=False), file)
        except _Unread as error:
            file.write(json.dumps({"reason": str(error), "code": error.code}).encode() + b"\n")


def _hand_over(series: list[Series], file: IO[bytes]) -> None:
    heads = []
    arrays: list[Array] = []
    for each in series:
        columns = {name: getattr(each.regions, name) for name in _OF_REGIONS}
        there = [name for name, column in columns.items() if column is not None]
        heads.append({"source": asdict(each.source), "there": there})
        arrays += [getattr(each, name) for name in _COLUMNS]
        arrays += [columns[name] for name in there]
    file.write(json.dumps({"series": heads}).encode() + b"\n")
    for array in arrays:
        np.save(file, array, allow_pickle=False)


def _received(file: IO[bytes]) -> list[Series]:
    head = json.loads(file.readline())
    if "reason" in head:
        raise _Unread(head["reason"], head["code"])

    def array() -> Array:
        found: Array = np.load(file, allow_pickle=False)
        return found

    made = []
    for each in head["series"]:
        columns: dict[str, Any] = {name: array() for name in _COLUMNS}
        regions = Regions(**{name: array() for name in each["there"]})
        made.append(Series(source_of(each["source"]), **columns, regions=regions))
    return made


def _series(table: Any, sources: list[Source]) -> list[Series]:
    owner = table["series"].to_numpy()
    if len(owner) and not 0 <= int(owner.min()) <= int(owner.max()) < len(sources):
        raise ValueError("a row is of a series that the metadata does not know")
    if len(sources) == 1:
        return [_one(table.combine_chunks(), sources[0])]
    rows = table.take(arrow().array(np.argsort(owner, kind="stable"))).combine_chunks()
    counts = np.bincount(owner, minlength=len(sources))
    begins = (np.cumsum(counts) - counts).tolist()
    return [
        _one(rows.slice(begin, count).combine_chunks(), source)
        for begin, count, source in zip(begins, counts.tolist(), sources, strict=True)
    ]


def _one(table: Any, source: Source) -> Series:
    """Convert rows to a series; those of a snapshot are consecutive, in the order of time."""
    pa = arrow()
    snapshot = table["snapshot"].to_numpy()
    new = np.flatnonzero(np.concatenate(([True], snapshot[1:] != snapshot[:-1]))[: len(snapshot)])
    if len(np.unique(snapshot)) != len(new):
        raise ValueError("rows of a snapshot do not stand together")
    there = table["start"].is_valid().to_numpy()
    counts = np.add.reduceat(there, new, dtype=np.int64) if len(new) else np.empty(0, np.int64)
    rows = table.filter(pa.array(there))

    def whole(name: str) -> Array:
        if rows[name].null_count:
            raise ValueError(f"a region without `{name}`")
        values: Array = rows[name].to_numpy()
        return values

    passed = rows["passed"]
    target = rows["target"].fill_null(UNKNOWN).to_numpy().astype(np.int32)
    regions = Regions(
        whole("start"),
        whole("end"),
        whole("accesses"),
        whole("age"),
        target,
        passed.to_numpy() if len(rows) and not passed.null_count else None,
        _read_hits(rows),
    )
    first = table.take(pa.array(new)) if len(new) else table
    return Series(
        source,
        first["begin_time"].cast(pa.int64()).to_numpy(),
        first["end_time"].cast(pa.int64()).to_numpy(),
        first["sample_us"].to_numpy(),
        first["aggregation_us"].to_numpy(),
        offsets_of(counts),
        regions,
    )


def _read_hits(rows: Any) -> Array | None:
    """Return hits as (regions, probes), None unless all regions have the same number."""
    hits = rows["hits"]
    if not len(rows) or hits.null_count:
        return None
    flat = hits.combine_chunks().flatten()
    probes, rest = divmod(len(flat), len(rows))
    lengths = hits.combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    if not probes or rest or (lengths != probes).any() or flat.null_count:
        return None
    values: Array = flat.to_numpy().reshape(len(rows), probes)
    return values
