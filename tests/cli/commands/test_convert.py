from __future__ import annotations

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.observe.records import files as records
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from tests.observe.recorded import NOW, plain


def series(first=0, regions=1):
    made = Regions.of([0] * regions, [4096] * regions, [3] * regions, [1] * regions)
    return series_of(Source("p/k", "s"), [(NOW + first, NOW + first + 1, Intervals(5, 100), made)])


def test_forms_there_and_back(cli):
    records.write("a.parquet", [series()], "parquet")
    done = cli("convert", "a.parquet", "b.data")

    assert (done.code, done.out) == (0, "1 snapshot and 1 region of 1 source → b.data\n")

    assert cli("convert", "b.data", "c", "--form", "damo-json").code == 0
    found = cli("convert", "c", "d.parquet", "--format", "json").json["data"]

    assert found == {
        "file": "d.parquet", "form": "parquet", "sources": ["p/k, scheme s"],
        "snapshots": 1, "regions": 1,
    }  # fmt: skip
    assert plain(records.load("d.parquet")[0]) == plain(series())


def test_several_become_one(cli):
    records.write("a.parquet", [series(5)], "parquet")
    records.write("a.1.parquet", [series(1)], "parquet")

    assert cli("convert", "a.parquet", "a.1.parquet", "whole.parquet").code == 0
    assert records.load("whole.parquet")[0].begin.tolist() == [NOW + 1, NOW + 5]


def test_nothing_is_overwritten(cli):
    records.write("a.parquet", [series()], "parquet")
    done = cli("convert", "a.parquet", "a.parquet")

    assert done.code == ExitCode.USAGE
    assert "already exists" in done.err
    assert cli("convert", "a.parquet", "a.parquet", "--force").code == 0


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("x", b"hello", ExitCode.INVALID, "`x` cannot be read as a record of damo"),
        ("x", b"PAR1", ExitCode.INVALID, "`x` cannot be read as a record"),
        ("y", b"", ExitCode.FAILED, "no such file"),
    ],
)
def test_bad_files(cli, tmp_path, name, content, code, said):
    (tmp_path / "x").write_bytes(content)
    done = cli("convert", name, "out")

    assert done.code == code
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_what_text_has_no_place_for(cli):
    records.write("a.parquet", [series(regions=0)], "parquet")
    done = cli("convert", "a.parquet", "a.txt")

    assert done.code == ExitCode.USAGE
    assert "text has no place for snapshots without regions" in done.err
