"""Signals end a command: before anything was done, or once it has been undone."""

from __future__ import annotations

import os
import signal

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.cli.main import main
from damonpolicy.observe.records import files as records
from tests.engine.site import Site, shipped
from tests.observe.seen import series

KSM = shipped("ksm")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _as_at_the_start():
    """Who runs tests in the background, or with nohup, may have them ignore some."""
    usual = dict.fromkeys(SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    assert {each: signal.signal(each, handler) for each, handler in before.items()} == usual


@pytest.mark.parametrize("where", ["Named.read", "prepare", "detect"])
@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_before_anything_was_changed(site, monkeypatch, where, number):
    def interrupt(*_, **__):
        signal.raise_signal(number)

    with monkeypatch.context() as patched:
        patched.setattr(f"damonpolicy.cli.commands.apply.{where}", interrupt)
        outcome = site.run("apply", KSM, "--format", "json")

    assert outcome.code == outcome.json["exit_code"] == ExitCode.INTERRUPTED
    assert outcome.json["diagnostics"][0]["message"] == "interrupted before anything was changed"
    assert site.writes() == []
    assert not site.places.journal.exists()
    site.done("apply", KSM)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_every_write_ends_before_or_after(number, monkeypatch):
    """Each write of a short transaction in turn is where the signal comes."""
    text = (
        "version: 1\nname: a\nsettings: {/sys/kernel/mm/ksm/run: 1, /proc/sys/vm/swappiness: 5}\n"
    )
    for at in (1, 2, 3):
        site = Site()
        policy = site.policy("a", text)
        before = site.world.look()
        machine = type(site.machine)
        write, seen = machine.write, []

        def signalled(self, path, value, write=write, seen=seen, at=at):
            write(self, path, value)
            seen.append(path)
            if len(seen) == at:
                signal.raise_signal(number)

        with monkeypatch.context() as patched:
            patched.setattr(machine, "write", signalled)
            outcome = site.run("apply", policy)
        if at <= 2:
            assert outcome.code == ExitCode.ROLLED_BACK
            assert f"interrupted by {signal.Signals(number).name}" in outcome.err
            assert site.world.look() == before
            assert len(seen) == 2 * at
        else:
            assert outcome.code == 0
            assert len(seen) == 2
        site.close()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", [("recover",), ("apply", KSM)])
def test_a_signal_waits_for_the_end_of_a_recovery(site, monkeypatch, number, words):
    """An undo that stops half-way would leave what is neither old nor new."""
    before = site.world.look()
    site.killed(lambda path, text: text == "on", "ksm")
    machine = type(site.machine)
    write, seen = machine.write, []

    def signalled(self, path, value):
        write(self, path, value)
        seen.append(path)
        if len(seen) == 3:
            signal.raise_signal(number)

    with monkeypatch.context() as patched:
        patched.setattr(machine, "write", signalled)
        outcome = site.run(*words)

    assert outcome.code == ExitCode.INTERRUPTED
    assert len(seen) > 3
    assert (
        f"by {signal.Signals(number).name} when an earlier transaction had been ended"
        in outcome.err
    )
    assert site.world.look() == before
    assert not site.places.journal.exists()


@pytest.fixture
def converted(tmp_path, monkeypatch):
    """Convert a record, let a signal come in the midst, and return the status and the files."""
    records.write(str(tmp_path / "one.data"), [series()], "damo-json")

    def convert(number):
        monkeypatch.setattr(os, "fsync", lambda _: signal.raise_signal(number))
        with pytest.raises(SystemExit) as ended:
            main(["convert", str(tmp_path / "one.data"), str(tmp_path / "two.data")])
        return ended.value.code, sorted(each.name for each in tmp_path.iterdir())

    return convert


@pytest.mark.parametrize("number", SIGNALS)
def test_no_file_in_the_making_is_left(converted, number):
    """As a service manager or a closed terminal ends what takes long."""
    assert converted(number) == (ExitCode.INTERRUPTED, ["one.data"])


def test_what_is_ignored_stays_ignored(converted):
    """As nohup has it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    assert converted(signal.SIGHUP) == (0, ["one.data", "two.data"])
    assert signal.signal(signal.SIGHUP, signal.SIG_DFL) == signal.SIG_IGN
