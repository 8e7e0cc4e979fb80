"""Small records of damo that unpack to very many of something: refused, or read in little memory."""

from __future__ import annotations

import json
import tracemalloc
import zlib

import numpy as np
import pytest

from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.observe.records import damo
from damonpolicy.observe.regions import UNKNOWN

EMPTY = b'{"start_time": 1, "end_time": 2, "regions": []}'
REGION = b'{"start": 0, "end": 4096, "nr_accesses": {"samples": 1}}'


def many(what, count):
    return b",".join([what] * count)


BOMBS = {
    "unknown keys": b'[{"x": [' + many(b"{}", 3_000_000) + b'], "snapshots": []}]',
    "in a snapshot": b'[{"snapshots": [{"x": [' + many(b"{}", 3_000_000) + b"], " + EMPTY[1:] + b"]}]",
    "depth": b'[{"x": ' + b"[" * 3_000_000 + b"]" * 3_000_000 + b', "snapshots": []}]',
    "a text": b'[{"x": "' + b"a" * 9_000_000 + b'", "snapshots": []}]',
    "snapshots": b'[{"snapshots": [' + many(EMPTY, 60_000) + b"]}]",
    "records": b"[" + many(b'{"snapshots": []}', 300_000) + b"]",
    "filters": b'[{"snapshots": [], "scheme_filters": [' + many(b"{}", 100_000) + b"]}]",
    "hits": b'[{"snapshots": [{"start_time": 1, "end_time": 2, "regions": ['
    + REGION[:-1] + b', "probe_hits": [' + many(b"1", 600_000) + b"]}]}]}]",
}  # fmt: skip


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_bombs_take_little_memory(tmp_path, content):
    path = tmp_path / "bomb.data"
    path.write_bytes(zlib.compress(content))
    tracemalloc.start()
    try:
        damo.read(str(path))
    except PolicyInvalid as error:
        assert len(error.message) < 500
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 60 << 20  # 2.4 GB of snapshots, 5 GB of keys


def test_large_and_small_snapshots_are_read_alike(tmp_path):
    regions = [
        {
            "start": number * 4096,
            "end": (number + 1) * 4096,
            "nr_accesses": {"samples": number % 20},
        }
        for number in range(30_000)  # some windows of text
    ]
    small = {"end_time": 2, "regions": regions[:2], "start_time": 1, "other": [1]}
    large = {"end_time": 3, "other": {"a": "]"}, "regions": regions, "start_time": 2}
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"snapshots": [small, large, small], "target_id": 0}]))
    (found,) = damo.read(str(path))

    assert np.diff(found.offsets).tolist() == [2, 30_000, 2]
    assert found.end.tolist() == [2, 3, 2]
    assert found.regions.start[2:-2].tolist() == [each["start"] for each in regions]
    assert found.regions.accesses[2:-2].tolist() == [number % 20 for number in range(30_000)]


def test_a_small_record_takes_little_memory(tmp_path):
    path = tmp_path / "r.json"
    path.write_text('[{"snapshots": []}]')
    tracemalloc.start()
    try:
        damo.read(str(path))
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 16 << 20  # not the 4 GiB that it might have


@pytest.mark.parametrize("begin", [b"", b" \n" * 40_000, "\ufeff".encode()])
def test_space_before_the_content_does_not_matter(tmp_path, begin):
    line = b"kdamond.0 44 [001] 8.3: damon:damon_aggregated: target_id=0 nr_regions=1 0-9: 0 3\n"
    path = tmp_path / "r"
    path.write_bytes(begin + b"\n" + line * 2_000)
    assert len(damo.read(str(path))[0]) == 2_000


def test_a_line_without_end_is_not_kept(tmp_path):
    line = b"kdamond.0 44 [001] 8.3: damon:damon_aggregated: target_id=0 nr_regions=1 0-9: 0 3\n"
    path = tmp_path / "r"
    path.write_bytes(line + b"x" * 3_000_000 + b"\n" + line + "é".encode() * 70_000 + b"\n" + line)
    (found,) = damo.read(str(path))
    assert (len(found), found.source.target) == (3, 0)
    assert found.source.target != UNKNOWN
