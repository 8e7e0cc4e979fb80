"""Parquet files that were damaged, or made by others, end no command and fill no memory."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from damonpolicy.base import limits
from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.observe.records import parquet, parquet_read
from damonpolicy.observe.records.checksum import Damaged, verified
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from tests.observe.recorded import NOW, plain

SECOND = 10**9


def series(count=300):
    return series_of(Source("k", scheme="s"), [
        (NOW + each * SECOND, NOW + (each + 1) * SECOND, Intervals(5_000, 100_000),
         Regions.of([4096 * each], [4096 * each + 8192], [each % 20], [each], hits=[[1, each]]))
        for each in range(count)
    ])  # fmt: skip


@pytest.fixture
def path(tmp_path):
    parquet.write(str(tmp_path / "r.parquet"), [series()])
    return str(tmp_path / "r.parquet")


def unsealed(path):
    """Write a record as an older damonpolicy did, or another program."""
    table = pq.read_table(path)
    with pq.ParquetFile(path) as file:
        found = file.metadata.metadata
    pq.write_table(table.replace_schema_metadata(found), path)
    assert not verified(path)
    return path


def test_other_readers_of_parquet_do_not_mind_the_checksum(path):
    assert verified(path)
    assert len(pq.read_table(path, page_checksum_verification=True)) == 300


def test_each_flipped_bit_is_found_before_the_file_is_read(path):
    with open(path, "rb") as file:
        whole = file.read()
    chance = random.Random(11)
    kept = 0
    for _ in range(400):
        broken = bytearray(whole)
        broken[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        with open(path, "wb") as file:
            file.write(broken)
        try:
            kept += not verified(path)  # what it was called by is gone: another process reads it
        except Damaged:
            continue
    assert kept < 30

    with open(path, "wb") as file:
        file.write(whole[:5_000] + bytes([whole[5_000] ^ 1]) + whole[5_001:])
    with pytest.raises(PolicyInvalid, match="its checksum is wrong") as caught:
        parquet_read.read(path)
    assert caught.value.code == "DP0366"


def without_seal(path):
    """Take our checksum of the whole file out of it; all else stays as it was written."""
    with open(path, "rb") as file:
        whole = file.read()
    at = whole.rindex(b"damonpolicy.sum\0")
    with open(path, "wb") as file:
        file.write(whole[:at] + whole[at + 16 + 32 :])
    assert not verified(path)
    return path


@pytest.mark.parametrize("name", ["start", "accesses", "hits.list.element"])
def test_a_flipped_bit_of_a_page_is_found_by_the_checksum_of_the_page(path, name):
    before = plain(parquet_read.read(path)[0])
    assert plain(parquet_read.read(without_seal(path))[0]) == before

    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    (column,) = [each for each in columns if each.path_in_schema == name]
    begin = column.dictionary_page_offset or column.data_page_offset
    with open(path, "r+b") as file:  # the last byte of its last page
        file.seek(begin + column.total_compressed_size - 1)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(PolicyInvalid, match="CRC checksum verification failed"):
        parquet_read.read(path)


def test_a_file_that_was_cut_is_refused_at_once(path):
    os.truncate(path, os.path.getsize(path) - 3)
    with pytest.raises(PolicyInvalid, match="its end is missing"):
        parquet_read.read(path)


def test_a_file_without_a_checksum_is_read_by_another_process(path):
    before = plain(parquet_read.read(path)[0])
    assert plain(parquet_read.read(unsealed(path))[0]) == before


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "SIGABRT"),
        ("import sys; sys.exit(3)", "exit code 3"),
    ],
)
def test_a_reader_that_crashes_is_a_sentence(path, monkeypatch, ends, says):
    monkeypatch.setattr(parquet_read, "_BOOTSTRAP", ends)
    with pytest.raises(PolicyInvalid, match=says) as caught:
        parquet_read.read(unsealed(path))
    assert caught.value.code == "DP0367"


def limited(path, **more):
    """Read in a process whose limits are others; returns what `child` says."""
    set_to = "".join(
        f"limits.{name} = limits.Limit('', {most}, '', 'DP0367');" for name, most in more.items()
    )
    code = (
        f"import sys; from damonpolicy.base import limits; {set_to}"
        "from damonpolicy.observe.records.parquet_read import child; child()"
    )
    with open(f"{path}.out", "w+b") as file:
        words = [sys.executable, "-c", code, path, str(file.fileno())]
        done = subprocess.run(words, pass_fds=[file.fileno()], check=False, capture_output=True)
        file.seek(0)
        return done.returncode, file.readline()


def test_the_reader_has_so_much_memory_and_time(path):
    rows = 2_000_000
    table = pq.read_table(path).take(pa.array(np.zeros(rows, np.int64)))
    with pq.ParquetFile(path) as file:
        found = file.metadata.metadata
    pq.write_table(table.replace_schema_metadata(found), path)

    assert os.path.getsize(path) < 1 << 20  # and 200 MB in memory
    code, said = limited(path, RECORD_MEMORY=16 << 20)
    assert code in (0, -signal.SIGABRT)
    assert code or b"not enough memory" in said or b"failed" in said
    code, _ = limited(path, RECORD_SECONDS=0)
    assert code in (-signal.SIGXCPU, -signal.SIGKILL)


def test_more_series_than_a_machine_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "RECORD_SERIES", limits.Limit("", 2, "", "DP0365"))
    path = str(tmp_path / "r.parquet")
    parquet.write(path, [series(1), series(1), series(1)])
    with pytest.raises(PolicyInvalid, match="3 series are too many") as caught:
        parquet_read.read(path)
    assert caught.value.code == "DP0365"


def test_rows_of_several_series_may_stand_anywhere(path, tmp_path):
    many = [series(3), series(5), series(0), series(2)]
    parquet.write(path, many)
    assert [plain(each) for each in parquet_read.read(path)] == [plain(each) for each in many]
