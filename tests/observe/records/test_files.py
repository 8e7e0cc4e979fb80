from __future__ import annotations

import pytest

from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.observe.records import files as records
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from tests.observe.recorded import NOW, plain

SOURCE = Source("p/k", "cold")


def series(*numbers, source=SOURCE):
    return series_of(
        source,
        [
            (
                NOW + 10 * each,
                NOW + 10 * each + 5,
                Intervals(5, 100),
                Regions.of([0, 4096][: each % 3], [7, 5000][: each % 3], [each] * (each % 3),
                           [1] * (each % 3)),
            )
            for each in numbers
        ],
    )  # fmt: skip


@pytest.mark.parametrize("form", records.FORMS)
def test_the_content_says_what_a_file_is(tmp_path, form):
    path = str(tmp_path / "whatever")
    records.write(path, [series(1, 2)], form)
    (found,) = records.load(path)

    assert found.regions.accesses.tolist() == [1, 2, 2]
    if form != "perf-script":
        assert plain(found) == plain(series(1, 2))


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"", "is empty", ""),
        (b"PERFILE2 and so on", "of another program", "perf script"),
        (b"\x17\x08Dtracing6", "of another program", "trace-cmd report"),
        (b"\x1f\x8b\x08", "of another program", "gunzip"),
        (b"\x28\xb5\x2f\xfd", "of another program", "unzstd"),
        (b"hello", "cannot be read as a record of damo", "damo report"),
        (b"\xff\xfe\x00", "cannot be read as a record of damo", "damo report"),
    ],
)
def test_what_is_no_record(tmp_path, content, said, hint):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(PolicyInvalid, match=said) as caught:
        records.load(str(path))

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.parquet", "parquet"), ("a.json", "damo-json"), ("a.txt", "perf-script"),
     ("damon.data", "damo")],
)  # fmt: skip
def test_the_name_says_what_is_written(name, form):
    assert records.form_of(name) == form


def test_files_of_one_recording_become_one(tmp_path):
    other = series(1, source=Source("other"))
    names = [str(tmp_path / name) for name in ("r.parquet", "r.1.parquet")]
    records.write(names[0], [series(4, 5, 6), other], "parquet")
    records.write(names[1], [series(1, 2, 3)], "damo")
    out = str(tmp_path / "out.parquet")
    records.convert(names, out)

    found = {each.source: plain(each) for each in records.load(out)}
    assert found == {each.source: plain(each) for each in (series(1, 2, 3, 4, 5, 6), other)}


def test_snapshots_are_brought_in_order():
    (found,) = records.joined([series(1, 5, 8), series(2, 4), series(), series(7)])

    assert plain(found) == plain(series(1, 2, 4, 5, 7, 8))


def test_nothing_joined():
    assert records.joined([]) == []
    assert plain(records.joined([series(), series()])[0]) == plain(series())
