"""Hostile callers, terminals and files: each report answers in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.show.output import _plain
from damonpolicy.observe.records import parquet
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from tests.observe.recorded import NOW

EVIL = "\x1b[31m\x9b2J\u202e</script>$\\frac$"


@pytest.fixture
def record(tmp_path):
    """A record whose names are chosen by someone who means harm."""
    source = Source(EVIL, scheme=EVIL, probes=(EVIL, "$x_{$"), filters=EVIL, ops="paddr")
    regions = Regions.of([4096], [8192], [1], [2], hits=[[1, 2]])
    found = series_of(source, [(NOW, NOW + 10**9, Intervals(5000, 100_000), regions)])
    path = str(tmp_path / "evil.parquet")
    parquet.write(path, [found])
    return path


def harmless(text):
    return all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_report_says_what_a_terminal_obeys(site, record, kind, form):
    done = site.run("report", kind, record, "--format", form)

    assert done.code == ExitCode.OK
    assert harmless(done.out)
    assert harmless(done.err)


def test_comma_separated_values_are_harmless_too(site, record):
    assert harmless(site.done("report", "snapshot", record, "--csv").out)


@pytest.mark.parametrize("name", ["map.svg", "map.csv", "map.html"])
def test_files_of_maps_take_any_name(site, record, name, tmp_path):
    out = tmp_path / name
    if name.endswith("html"):
        pytest.importorskip("plotly")
    options = ("--out", str(out), "--resolution", "2x2", "--probe", "$x_{$")
    site.done("report", "heatmap", record, *options)

    assert EVIL not in out.read_text("utf-8")


def test_json_stays_json():
    for text in (EVIL, "\U000e0001", "\x7f", "plain", "é\n", "\ud800"):
        document = _plain(json.dumps({"a": text}, ensure_ascii=False, indent=2))
        assert harmless(document)
        assert json.loads(document) == {"a": text}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("snapshot", "--temperature", "9" * 400), ExitCode.USAGE),
        (("snapshot", "--temperature", "9" * 5000), ExitCode.USAGE),
        (("snapshot", "--temperature-weights", f"1,1,{'9' * 400}"), ExitCode.USAGE),
        (("histogram", "--bins", f"{'9' * 400}..{'9' * 401}"), ExitCode.USAGE),
        (("snapshot", "--limit", "9" * 40), ExitCode.OK),
        (("heatmap", "--time", "0-2562047h"), ExitCode.OK),
        (("heatmap", "--time=-2562047h..0", "--absolute"), ExitCode.OK),
    ],
)
def test_numbers_of_any_length(site, record, arguments, code):
    assert site.run("report", arguments[0], record, *arguments[1:]).code == code


def test_a_terminal_of_any_size(site, record, monkeypatch):
    monkeypatch.setenv("COLUMNS", "99999999")
    monkeypatch.setenv("LINES", "5")
    assert len(site.done("report", "heatmap", record).out) < 100_000


@pytest.mark.parametrize("out", ["", ".", "directory.parquet", "nowhere/x.parquet", "pipe.parquet"])
def test_a_recording_that_could_not_be_kept_does_not_begin(site, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory.parquet").mkdir()
    os.mkfifo(tmp_path / "pipe.parquet")
    done = site.run("record", "--force", "--out", out)

    assert done.code in (ExitCode.USAGE, ExitCode.FAILED)
    assert f"`{out}`" in done.err
    assert ".part" not in done.err


def run(how):
    words = f"exec {sys.executable} -m damonpolicy schema {how}"
    return subprocess.run(
        ["/bin/sh", "-c", words], capture_output=True, text=True, timeout=60, check=False
    )


def test_output_that_cannot_be_written():
    done = run(">/dev/full")

    assert done.returncode == ExitCode.FAILED
    assert done.stderr == "error: the output cannot be written: no space left on device\n"


def test_closed_output():
    for how in (">&-", ">&- 2>&-", "2>&-"):
        done = run(how)
        assert (done.returncode, done.stderr) == (ExitCode.OK, "")
