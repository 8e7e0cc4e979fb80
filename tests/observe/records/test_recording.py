from __future__ import annotations

import os

import pytest

from damonpolicy.base.atomic import Rotation, whole_file
from damonpolicy.base.errors import UsageError
from damonpolicy.observe.records import files as records
from damonpolicy.observe.records.files import Tally, sink_of
from damonpolicy.observe.regions import Intervals, Regions, Source
from tests.observe.recorded import NOW

SOURCES = Source("p/k"), Source("p/l")


def one(number, source=SOURCES[0]):
    regions = Regions.of([0], [4096], [number], [1])
    return source, NOW + number, NOW + number + 1, Intervals(5000, 100_000), regions


@pytest.mark.parametrize("form", records.FORMS)
def test_files_of_every_form_follow_each_other(tmp_path, form):
    path = str(tmp_path / "r.x")
    with sink_of(path, form, limit_bytes=1, keep=2) as sink:
        for number in range(3):
            sink.add(*one(number))

    assert sink.names == [path, str(tmp_path / "r.1.x")]
    assert sorted(os.listdir(tmp_path)) == ["r.1.x", "r.x"]
    assert [records.load(each)[0].regions.accesses.tolist() for each in sink.names] == [[2], [1]]
    assert (sink.snapshots, sink.rows) == (3, 3)


@pytest.mark.parametrize("form", records.FORMS)
def test_one_file_where_there_is_room(tmp_path, form):
    with sink_of(str(tmp_path / "r"), form, limit_bytes=0, keep=1) as sink:
        for number in range(3):
            sink.add(*one(number))
            sink.add(*one(number, SOURCES[1]))

    assert os.listdir(tmp_path) == ["r"]
    assert [len(each) for each in records.load(str(tmp_path / "r"))] == [3, 3]


@pytest.mark.parametrize("form", records.FORMS)
def test_nothing_seen_is_no_file(tmp_path, form):
    with sink_of(str(tmp_path / "r"), form, limit_bytes=1, keep=1) as sink:
        pass

    assert sink.names == os.listdir(tmp_path) == []


def test_enough_of_each(tmp_path):
    with sink_of(str(tmp_path / "r"), "parquet", limit_bytes=0, keep=1) as sink:
        tally = Tally(sink, 2)
        for number in range(5):
            tally.add(*one(number))
        assert tally.enough([SOURCES[0]])
        assert not tally.enough(list(SOURCES))
        tally.add(*one(9, SOURCES[1]))
        tally.add(*one(10, SOURCES[1]))
        assert tally.enough(list(SOURCES))

    assert sink.snapshots == 4
    assert not Tally(sink).enough([])


@pytest.mark.parametrize("there", ["r.parquet", "r.3.parquet"])
def test_what_is_there_is_not_overwritten(tmp_path, there):
    (tmp_path / there).write_text("")
    with pytest.raises(UsageError, match=f"{there}` already exists"):
        Rotation(str(tmp_path / "r.parquet")).refuse_to_overwrite()


@pytest.mark.parametrize("other", ["s.parquet", "r.x.parquet", "r.03.parquet", "r.1.json"])
def test_other_files_do_not_matter(tmp_path, other):
    (tmp_path / other).write_text("")
    Rotation(str(tmp_path / "r.parquet")).refuse_to_overwrite()
    Rotation(str(tmp_path / "nowhere" / "r.parquet")).refuse_to_overwrite()


def test_a_leftover_of_someone_with_our_number_is_replaced(tmp_path):
    (tmp_path / f".r.{os.getpid()}.part").write_text("old and longer")
    with whole_file(str(tmp_path / "r")) as file:
        file.write(b"new")

    assert (tmp_path / "r").read_text() == "new"
    assert os.listdir(tmp_path) == ["r"]
