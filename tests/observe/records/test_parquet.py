from __future__ import annotations

import os
import stat
import sys
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damonpolicy.base.atomic import Rotation
from damonpolicy.base.errors import PolicyInvalid, UsageError
from damonpolicy.observe.records import parquet, parquet_read
from damonpolicy.observe.records.parquet import source_of
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.plan.facts import Accesses, Filter, Target
from tests.observe.recorded import NOW, large, plain, records, snapshots

SOURCE = Source("p/k", "cold", targets=(Target(7),))
INTERVALS = Intervals(5000, 100_000)
same_directory = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=40,
)


def one(number=0, regions=3, **more):
    start = np.arange(regions) * 4096
    made = Regions.of(start, start + 4096, [number] * regions, [1] * regions, **more)
    return NOW + number, NOW + number + 1, INTERVALS, made


def names(directory):
    return sorted(os.listdir(directory))


@same_directory
@given(records())
def test_what_is_written_is_read(tmp_path, made):
    path = str(tmp_path / "r.parquet")
    parquet.write(path, made)

    assert [plain(each) for each in made] == [plain(each) for each in parquet_read.read(path)]


@same_directory
@given(snapshots(), st.integers(1, 5))
def test_groups_make_no_difference(tmp_path, seen, group):
    path = tmp_path / "r.parquet"
    path.unlink(missing_ok=True)
    other = Source("other")
    with parquet.Writer(str(path)) as writer:
        writer._group = group
        for each in seen:
            writer.add(SOURCE, *each)
            writer.add(other, *each)

    if seen:
        found = parquet_read.read(str(path))

        assert [plain(series_of(each, seen)) for each in (SOURCE, other)] == [
            plain(each) for each in found
        ]
    assert seen or not path.exists()


def test_columns_as_others_see_them(tmp_path):
    path = str(tmp_path / "r.parquet")
    empty = (NOW + 5, NOW + 6, INTERVALS, Regions.of((), (), (), ()))
    parquet.write(path, [series_of(SOURCE, [one(regions=1, passed=[512], hits=[[1, 2]]), empty])])

    table = pq.read_table(path)
    for name in ("begin_time", "end_time"):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, table[name].cast(pa.int64()))
    rows = table.to_pylist()

    assert rows[0] == {
        "series": 0, "kdamond": "p/k", "scheme": "cold", "snapshot": 0,
        "begin_time": NOW, "end_time": NOW + 1,
        "sample_us": 5000, "aggregation_us": 100_000, "target": None,
        "start": 0, "end": 4096, "accesses": 0, "age": 1, "passed": 512, "hits": [1, 2],
    }  # fmt: skip
    assert (rows[1]["snapshot"], rows[1]["start"], rows[1]["hits"]) == (1, None, None)
    assert pq.read_schema(path).field("begin_time").type == pa.timestamp("ns", "UTC")


def test_a_file_is_private_and_appears_when_it_is_whole(tmp_path):
    with parquet.Writer(str(tmp_path / "r.parquet")) as writer:
        writer.add(SOURCE, *one())
        writer._flush()

        assert names(tmp_path) == [f".r.parquet.{os.getpid()}.part"]
        assert writer.size > 0
        assert writer.names == []

    assert names(tmp_path) == ["r.parquet"]
    assert writer.names == [str(tmp_path / "r.parquet")]
    assert stat.S_IMODE((tmp_path / "r.parquet").stat().st_mode) == 0o600


def test_files_follow_each_other(tmp_path):
    (tmp_path / "r.7.parquet").write_text("of an earlier recording")
    (tmp_path / "r.x.parquet").write_text("of someone else")
    with parquet.Writer(str(tmp_path / "r.parquet"), limit_bytes=1, keep=3) as writer:
        for number in range(6):
            writer.add(SOURCE, *one(number))

    assert names(tmp_path) == ["r.1.parquet", "r.2.parquet", "r.parquet", "r.x.parquet"]
    seen = [int(parquet_read.read(each)[0].begin[0]) - NOW for each in writer.names]
    assert seen == [5, 4, 3]
    # numbers go on, so that files can be read as one
    assert pq.read_table(writer.names[0])["snapshot"].to_pylist() == [5, 5, 5]


def test_what_was_seen_before_an_error_is_kept(tmp_path):
    path = str(tmp_path / "r.parquet")
    writer = parquet.Writer(path)

    def recording():
        with writer:
            writer.add(SOURCE, *one())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        recording()

    assert len(parquet_read.read(path)[0]) == 1


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(self, made, so_far):
        raise OSError(28, "No space left on device", made.path)

    monkeypatch.setattr(Rotation, "finish", full)
    writer = parquet.Writer(str(tmp_path / "r.parquet"))
    writer.add(SOURCE, *one())
    with pytest.raises(OSError, match="No space"):
        writer.finish()

    assert names(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "r.parquet"
    path.write_text("old")
    with pytest.raises(AttributeError):
        parquet.write(str(path), [series_of(SOURCE, [one()]), None])

    assert names(tmp_path) == ["r.parquet"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 99 + b"PAR1"])
def test_damaged(tmp_path, content):
    path = tmp_path / "r.parquet"
    path.write_bytes(content)
    with pytest.raises(PolicyInvalid, match=r"r.parquet.* cannot be read as a record"):
        parquet_read.read(str(path))


def replaced(tmp_path, **columns):
    """A record with other columns or metadata."""
    path = str(tmp_path / "r.parquet")
    parquet.write(path, [series_of(SOURCE, [one(), one(1)])])
    table = pq.read_table(path)
    metadata = {**pq.read_metadata(path).metadata}
    for name, value in columns.items():
        if name in table.column_names:
            index = table.schema.get_field_index(name)
            kind = table.schema.field(index).type
            table = table.set_column(index, name, pa.array(value, kind))
        elif value is None:
            del metadata[f"damonpolicy.{name}".encode()]
        else:
            metadata[f"damonpolicy.{name}".encode()] = value.encode()
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sources": None}, "not written by damonpolicy"),
        ({"records": "2"}, "newer damonpolicy"),
        ({"sources": "{"}, "Expecting property name"),
        ({"sources": "[3]"}, "object is not iterable"),
        ({"sources": "[{}]"}, "missing 1 required"),
        ({"sources": "[]"}, "metadata does not know"),
        ({"sources": '[{"kdamond": 3}]'}, "`kdamond` of a source is a int"),
        ({"sources": '[{"kdamond": "k", "weights": [1]}]'}, "not enough values"),
        ({"series": [0, 0, 0, 0, 0, -1]}, "metadata does not know"),
        ({"snapshot": [0, 1, 0, 1, 0, 1]}, "do not stand together"),
        ({"end": [1, 2, None, 4, 5, 6]}, "a region without `end`"),
    ],
)
def test_made_up(tmp_path, changes, reason):
    with pytest.raises(PolicyInvalid, match=reason):
        parquet_read.read(replaced(tmp_path, **changes))


def test_what_a_newer_version_knows_more_of_a_source_is_left_out(tmp_path):
    path = replaced(tmp_path, sources='[{"kdamond": "k", "colour": "red"}]')

    assert parquet_read.read(path)[0].source == Source("k")


@pytest.mark.parametrize("hits", [[[1], [2], None], [[1], [2], [3, 4]], [[1, 2], [3], [4, 5, 6]]])
def test_hits_that_are_not_alike_are_left_out(tmp_path, hits):
    assert parquet_read.read(replaced(tmp_path, hits=hits * 2))[0].regions.hits is None


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="need pyarrow") as caught:
        parquet.Writer(str(tmp_path / "r.parquet"))

    assert "damonpolicy[records]" in caught.value.hint


def test_ten_thousand_regions_are_small(tmp_path):
    path = str(tmp_path / "r.parquet")
    made = large(20, 10_000)
    parquet.write(path, [made])

    assert os.path.getsize(path) < 200_000 * 12
    assert plain(made) == plain(parquet_read.read(path)[0])


def test_words_of_early_records_say_nothing_for_sure():
    """A cgroup of any name was in them: that there was a filter is all that is taken."""
    source = source_of(
        {
            "kdamond": "k",
            "filters": "allow memcg /a; reject anon; the rest is taken",
            "accesses": "writes",
            "targets": ["pid 7 (a (b))", "pid 8", "id 18446623435582458880", "1GiB in 1 region"],
        }
    )

    assert source == Source(
        "k",
        filters=(Filter("unknown", True, False),),
        accesses=Accesses(""),
        targets=(Target(7, "a (b)"), Target(8), Target(id=18446623435582458880), Target()),
    )
    assert source_of({"kdamond": "k", "filters": "", "accesses": "all"}).filters == ()


@pytest.mark.parametrize(
    "wrong",
    [{"filters": [1]}, {"filters": [{}]}, {"filters": {"a": 1}}, {"accesses": 1}, {"accesses": {"cpus": 3}},
     {"filters": [asdict(Filter("anon", True, True))] * 600}, {"targets": "pid 7"}, {"targets": [7]},
     {"targets": [asdict(Target(pid=-7))]}, {"accesses": {"kind": "some"}}],
)  # fmt: skip
def test_filters_accesses_and_targets_of_a_source_are_checked(wrong):
    with pytest.raises((ValueError, TypeError)):
        source_of({"kdamond": "k", **wrong})
