"""`record`: its output, and the ways to end it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from damonpolicy.base.atomic import Amount
from damonpolicy.base.errors import ExitCode, LockHeld
from damonpolicy.cli.commands import record
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.session import changing
from damonpolicy.observe.collect import live
from damonpolicy.observe.records import files as records
from tests.policies import LOOK

WATERMARKS = "watermarks: {metric: free_mem_rate, every: 1s, high: 50%, mid: 40%, low: 1%}"


@pytest.fixture
def looked(site, tmp_path, monkeypatch):
    """A site with one kdamond of ours, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    site.done("apply", site.policy("look", LOOK))
    return site


def loaded(name="damon.parquet"):
    (series,) = records.load(name)
    return series


def test_trace_events(looked, clock):
    done = looked.done("record", "--count", "2")

    series = loaded()
    assert (series.source.kdamond, series.source.scheme, series.source.origin) == (
        "look/ram", "", "trace",
    )  # fmt: skip
    assert len(series) == 2
    assert series.begin[1] == series.end[0]
    assert series.intervals(0).aggregation == 100_000
    assert series.regions.total > 0
    assert done.err.startswith("recording into damon.parquet\n2 snapshots, ")
    assert "damon.parquet (" in done.err
    assert "snapshots" not in done.out


def test_regions_that_schemes_tried(looked):
    looked.done("record", "--source", "regions", "--interval", "1ms", "--count", "2")

    series = loaded()
    assert (series.source.kdamond, series.source.scheme, series.source.origin) == (
        "look/ram", "all", "regions",
    )  # fmt: skip
    assert len(series) == 2


def test_nobody_changes_anything_while_schemes_are_asked(looked, monkeypatch):
    ask, asked = live.ask, []

    def held(machine, kdamond):
        with pytest.raises(LockHeld), changing(machine, looked.places):
            pass
        asked.append(kdamond.name)
        ask(machine, kdamond)

    monkeypatch.setattr(live, "ask", held)
    looked.done("record", "--source", "regions", "--count", "1")

    assert asked == ["look/ram"]


@pytest.mark.parametrize(
    ("out", "form"), [("r.json", "damo-json"), ("r.data", "damo"), ("r.txt", "perf-script")]
)
def test_forms(looked, out, form):
    found = looked.done("record", "-o", out, "--count", "1", "--format", "json").json

    assert found["data"]["form"] == form
    assert found["data"]["files"] == [out]
    assert found["data"]["snapshots"] == 1
    assert len(loaded(out)) == 1


def test_a_time_is_enough(looked, clock):
    begin = clock.now
    looked.done("record", "--for", "250ms", "--kdamond", "look/ram")

    assert clock.now - begin == pytest.approx(0.25)
    assert len(loaded()) == 2


@pytest.mark.parametrize("source", ["trace", "regions"])
def test_only_the_time_of_looking_counts(looked, clock, monkeypatch, source):
    """Importing and opening may take long: not of what was asked for."""
    slow, opened = record._traced, records.sink_of

    def late(function):
        def called(*arguments, **options):
            clock.now += 100.0
            return function(*arguments, **options)

        return called

    monkeypatch.setattr(record, "_traced", late(slow))
    monkeypatch.setattr(records, "sink_of", late(opened))
    done = looked.done(
        "record", "--for", "250ms", "--source", source, "--interval", "100ms", "--format", "json"
    ).json["data"]

    assert done["seconds"] == pytest.approx(0.25)
    assert done["snapshots"] == {"trace": 2, "regions": 3}[source]


def test_what_came_before_the_end_is_recorded_however_late_it_is_read(looked, clock, monkeypatch):
    left, asked = record._Until.left, []

    def stalled(until):
        asked.append(until)
        if len(asked) == 2:
            clock.now += 60.0
        return left(until)

    monkeypatch.setattr(record._Until, "left", stalled)
    looked.done("record", "--for", "150ms")

    assert len(asked) == 2
    assert len(loaded()) > 0


def test_who_cannot_keep_up_says_so(looked, clock, monkeypatch):
    look = record._tried

    def slowly(*arguments):
        clock.sleep(11.7)
        return look(*arguments)

    monkeypatch.setattr(record, "_tried", slowly)
    options = ("record", "--source", "regions", "--out", str(looked.directory / "slow.json"))
    found = looked.json(*options, "--interval", "2s", "--for", "47s")["data"]
    (note,) = found["notes"]
    assert note.startswith("looks were 11.7 s apart and not 2 s")
    assert (
        looked.json(*options, "--force", "--interval", "12s", "--count", "2")["data"]["notes"] == []
    )


def test_nothing_is_overwritten(looked):
    looked.done("record", "--count", "1")
    again = looked.run("record", "--count", "1")

    assert again.code == ExitCode.USAGE
    assert "`damon.parquet` already exists" in again.err

    looked.done("record", "--count", "3", "--force")

    assert len(loaded()) == 3


def test_small_files_follow_each_other(looked, clock):
    looked.done("record", "--count", "4", "--max-size", "1B", "--keep", "2")

    assert sorted(os.listdir()) == ["damon.1.parquet", "damon.parquet"]
    assert loaded("damon.1.parquet").end[-1] == loaded().begin[0]


@pytest.mark.parametrize("form", record.FORMS)
def test_nothing_is_thrown_away_unless_asked_for(looked, form):
    options = ("record", "-o", "r.x", "--form", form, "--count", "7", "--max-size", "1B")
    done = looked.done(*options, "--format", "json").json["data"]

    assert len(done["files"]) == 7
    assert (done["snapshots"], done["discarded"]) == (7, 0)
    assert sum(len(loaded(name)) for name in done["files"]) == 7


@pytest.mark.parametrize("form", record.FORMS)
def test_what_is_thrown_away_is_told_and_the_rest_is_what_the_files_hold(looked, form):
    options = ("record", "-o", "r.x", "--form", form, "--count", "7", "--max-size", "1B",
               "--keep", "3", "--force")  # fmt: skip
    done = looked.done(*options, "--format", "json").json["data"]
    held = [loaded(name) for name in done["files"]]
    told = looked.done(*options).err

    assert (done["snapshots"], done["discarded"]) == (3, 4)
    assert sum(map(len, held)) == done["snapshots"]
    assert sum(len(each.regions) for each in held) == done["regions"]
    assert told.startswith("recording into r.x\n3 snapshots, ")
    assert "4 snapshots discarded: `--keep` left no more files\n" in told


@pytest.mark.parametrize("source", ["trace", "regions"])
def test_another_name(looked, source):
    done = looked.run("record", "--source", source, "--kdamond", "look/rum")

    assert done.code == ExitCode.USAGE
    assert "no kdamond `look/rum` is running" in done.err
    assert "there is `look/ram`" in done.err


def test_nobody_may_be_asked(looked):
    looked.done("apply", looked.policy("look", LOOK.replace("stat}", f"stat, {WATERMARKS}}}")))
    done = looked.run("record", "--source", "regions")

    assert done.code == ExitCode.FAILED
    assert "look/ram cannot be asked: all of its schemes have watermarks" in done.err
    assert "--source trace" in done.err


def test_someone_elses_regions_are_asked_for_by_name_only(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site.done("apply", site.policy("look", LOOK))
    for name in os.listdir(site.directory):
        if name not in ("machine", "look.yaml"):
            shutil.move(site.directory / name, tmp_path / name)
    done = site.run("record", "--source", "regions", "-o", "r")

    assert "slot 0 cannot be asked: it is someone else's" in done.err

    site.done("record", "--source", "regions", "-o", "r", "--count", "1", "--kdamond", "slot 0")

    assert loaded("r").source.kdamond == "slot 0"


def test_it_ends_when_the_last_kdamond_does(looked, monkeypatch):
    monkeypatch.setattr(record, "_LOOK", 0.0)
    from damonpolicy.observe.collect.trace_events import Traced

    read = Traced.read

    def ending(self, seconds):
        found = read(self, seconds)
        if found:
            looked.machine.write("/sys/kernel/mm/damon/admin/kdamonds/0/state", "off")
        return found

    monkeypatch.setattr(Traced, "read", ending)
    done = looked.done("record")

    assert "note: no kdamond runs any more" in done.err
    assert len(loaded()) == 1


@pytest.mark.parametrize(
    ("counts", "said"),
    [((5, 1), "the kernel dropped 5 events"), ((0, 1), "1 snapshots were not whole")],
)
def test_what_is_lost_is_told(looked, monkeypatch, counts, said):
    from damonpolicy.observe.collect.trace_events import Traced

    finish = Traced.finish

    def lossy(self):
        self.assembler.lost, self.assembler.broken = counts
        return finish(self)

    monkeypatch.setattr(Traced, "finish", lossy)

    assert said in looked.done("record", "--count", "1").err


def test_an_instant_that_the_clock_cannot_show_is_over(site, monkeypatch):
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda self: 2.0**20)
    until = record._Until(site.machine, lambda: False, 1e-11, None)
    until.begin()

    assert until.left() == 0.0


def test_nothing_seen_is_no_success(looked, clock):
    done = looked.run("record", "--for", "1us")

    assert done.code == ExitCode.FAILED
    assert "error[DP0500]: no data arrived in 0.0 s, and no file is written" in done.err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--for", "5"), "`--for 5`: `5` has no unit"),
        (("--for", "0"), "`--for 0` is no time"),
        (("--interval", "0"), "`--interval 0` is no time"),
        (("--max-size", "5"), "`--max-size 5`: `5` has no unit"),
        (("--max-size", "0"), "`--max-size 0` holds nothing"),
        (("--count", "0"), "`--count`"),
        (("--form", "csv"), "`csv` is not one of"),
    ],
)
def test_mistakes(looked, options, said):
    done = looked.run("record", *options)

    assert done.code == ExitCode.USAGE
    assert said in done.err


def test_progress_on_a_terminal(looked, monkeypatch):
    monkeypatch.setattr(record.sys.stderr.__class__, "isatty", lambda self: True, raising=False)
    until = record._Until(None, lambda: False, None, type("Sink", (), {"kept": Amount(1, 1000)})())
    written = []
    monkeypatch.setattr(
        record.sys, "stderr",
        type("Terminal", (), {"isatty": lambda self: True, "write": lambda self, text:
                              written.append(text), "flush": lambda self: None})(),
    )  # fmt: skip
    until.clear()
    until.left()
    until.left()
    until.clear()

    assert written == ["\r\x1b[K1 snapshot, 1,000 regions, Ctrl-C ends it", "\r\x1b[K"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("source", ["trace", "regions"])
def test_signals_end_it_with_a_whole_file(looked, tmp_path, number, source):
    with subprocess.Popen(
        [sys.executable, "-m", "damonpolicy", "--kernel", "emulated:7.3", "--state-dir",
         str(looked.directory), "record", "--source", source, "--interval", "50ms",
         "--max-size", "1B", "--keep", "9999"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not os.path.exists("damon.parquet"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        told = process.communicate(timeout=120)[1]

    assert (process.returncode, told.splitlines()[1].split(" in ")[0][:1].isdigit()) == (0, True)
    assert len(loaded()) > 0
    assert not [name for name in os.listdir() if name.endswith(".part")]
