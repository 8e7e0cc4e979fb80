"""`record` of what DAMON's own modules see, and where none runs."""

from __future__ import annotations

import os

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.damon.tracing import EmulatedTracing
from damonpolicy.observe.records import files as records

STAT = "/sys/module/damon_stat/parameters/enabled"


def test_nothing_runs(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site.machine.write(STAT, "N")
    for source in ("trace", "regions"):
        done = site.run("record", "--source", source)

        assert done.code == ExitCode.FAILED
        assert "no kdamond is running" in done.err
    assert os.listdir() == []


@pytest.mark.parametrize("words", [(), ("--kdamond", "damon_stat"), ("--source", "trace")])
def test_what_a_module_of_the_kernel_sees_is_recorded(site, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = site.done("record", "--count", "3", "-o", "seen.parquet", *words, "--format", "json")

    assert done.json["data"]["snapshots"] == 3
    (series,) = records.load("seen.parquet")
    assert (series.source.kdamond, series.source.ops, series.source.tuned) == (
        "damon_stat",
        "paddr",
        True,
    )
    assert series.intervals(0).samples == 20


def test_a_module_that_ends_ends_the_recording_too(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read, reads = EmulatedTracing.read, []

    def ended(self, seconds):
        reads.append(seconds)
        if len(reads) == 3:
            self._machine.write(STAT, "N")
        return read(self, seconds)

    monkeypatch.setattr(EmulatedTracing, "read", ended)
    done = site.done("record", "-o", "seen.parquet")

    assert "no kdamond runs any more" in done.err


def test_a_module_cannot_be_asked_for_regions(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = site.run("record", "--source", "regions", "--count", "1")

    assert done.code == ExitCode.FAILED
    assert "a kernel module reports its regions by trace events only" in done.err
