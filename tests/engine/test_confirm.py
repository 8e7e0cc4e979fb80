"""An unconfirmed change does not stay, whatever happens to the process that made it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from types import SimpleNamespace

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.cli.commands import confirm
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import recover, session
from damonpolicy.engine.confirm import start_guard
from damonpolicy.engine.recover import main as recover_main
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.machine import LiveMachine
from tests.engine.site import KSM_RUN

pytestmark = pytest.mark.usefixtures("clock", "guards")


@pytest.fixture
def pending(site):
    """Generation 2 waits for an hour to be confirmed."""
    site.done("apply", site.setting("a", 1))
    site.done("apply", site.setting("a", 2), "--confirm-within", "1h")
    return site


def guard(site, generation, deadline):
    options = SimpleNamespace(
        kernel="emulated:7.3", state_dir=site.directory, machine=None, stop_all=False,
        guard=generation, deadline=deadline,
    )  # fmt: skip
    return recover.run(options)


def test_the_guard_is_started_before_the_first_write(pending, guards):
    generation, deadline, options, written = guards[0]

    assert generation == 2
    assert options == ["--state-dir", str(pending.directory)]
    assert 3500 < deadline - pending.machine.monotonic() <= 3600
    assert pending.writes(written) == [("ksm/run", "2")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("at", ["confirmed.json", "state.json", "state.copy.json", "the answer"])
def test_a_signal_while_it_is_confirmed_is_too_late(pending, monkeypatch, at, number):
    """Otherwise it would say that nothing was changed, and the change would stay."""
    replace, notes, raised = os.replace, confirm.notes, []

    def replaced(old, new, **options):
        replace(old, new, **options)
        if os.path.basename(new) == at:
            raised.append(signal.raise_signal(number))

    def answered(session):
        if at == "the answer":
            raised.append(signal.raise_signal(number))
        return notes(session)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(confirm, "notes", answered)
    assert "generation 2 is confirmed" in pending.done("confirm").out
    assert raised
    assert pending.world.managed.pending is None
    assert Store(pending.places).confirmed() == 2


def test_a_confirmation_that_arrived_with_an_error_counts(pending, monkeypatch):
    """A confirmation that is reported as failed has not happened: its reader relies on the roll-back."""
    replace = os.replace

    def replaced(old, new, **options):
        replace(old, new, **options)
        if os.path.basename(new) == "state.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(new))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replaced)
        assert "generation 2 is confirmed" in pending.done("confirm").out
    assert pending.world.managed.pending is None
    pending.places.state.write_text("{")

    assert pending.world.managed.pending is None, "its copy says so, too"


def test_in_time_it_stays(pending, clock):
    assert "generation 2 is confirmed" in pending.done("confirm").out
    clock(3601)

    assert "nothing to recover" in pending.done("recover").out
    assert pending.read(KSM_RUN) == "2"
    assert pending.run("confirm").code == ExitCode.USAGE


@pytest.mark.parametrize("times", [1, 7])
def test_the_guard_tries_until_it_has_rolled_back(pending, monkeypatch, capsys, times):
    """H7: no other command may come; the guard says what is in the way, and tries again."""
    prepare, left = session.prepare, [times]

    def busy(*arguments, **options):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return prepare(*arguments, **options)

    monkeypatch.setattr(session, "prepare", busy)
    done = guard(pending, 2, pending.machine.monotonic() + 3600)

    assert done == ["generation 2 was not confirmed in time: back to 1"]
    assert pending.read(KSM_RUN) == "1"
    assert capsys.readouterr().err.count("generation 2: ") == times


def test_a_guard_ends_with_its_state_directory(pending, monkeypatch):
    run, gone = pending.places.run, pending.places.run.with_name("gone")
    monkeypatch.setattr(recover.time, "sleep", lambda _: shutil.move(run, gone))
    done = guard(pending, 2, pending.machine.monotonic() + 3600)
    shutil.move(gone, run)

    assert done == ["generation 2 is gone with its state directory"]


def test_a_guard_needs_no_library(pending, monkeypatch):
    """H7: what was before lies in the state file, too."""
    for each in pending.places.generations.iterdir():
        each.write_text("{")

    assert guard(pending, 2, pending.machine.monotonic() + 3600)[0].endswith("back to 1")
    assert pending.read(KSM_RUN) == "1"


def test_whoever_comes_after_the_deadline_rolls_back_first(pending, clock):
    clock(3601)
    outcome = pending.done("recover")

    assert "generation 2 was not confirmed in time: back to 1" in outcome.out
    assert pending.read(KSM_RUN) == "1"
    late = pending.run("confirm")
    assert late.code == ExitCode.ROLLED_BACK
    assert "generation 2 was not confirmed in time, and is undone" in late.err
    assert "generation 2 was not confirmed in time, and is undone" in pending.run("status").err


def test_confirming_too_late_says_that_it_is_gone(pending, clock):
    clock(3601)
    outcome = pending.run("confirm")

    assert outcome.code == ExitCode.ROLLED_BACK
    assert "generation 2 was not confirmed in time, and is undone" in outcome.err
    assert "hint: apply it again" in outcome.err
    assert pending.read(KSM_RUN) == "1"


def test_going_back_is_not_to_what_nobody_confirmed(pending, clock):
    """It may have cut its author off."""
    clock(3601)
    pending.done("recover")
    back = pending.done("rollback")

    assert "Back to generation 0" in back.out
    assert pending.read(KSM_RUN) == "0"
    marks = [each["marks"] for each in pending.json("history")["data"]["generations"]]
    assert marks == [[], ["unconfirmed"], [], ["now", "confirmed"]]


def test_nor_after_everything_was_stopped(pending):
    pending.done("stop", "--all")
    pending.done("rollback")

    assert pending.read(KSM_RUN) == "1"


def test_by_its_number_it_is_all_the_same_with_a_deadline_if_asked(pending, clock, guards):
    clock(3601)
    back = pending.done("rollback", "2", "--confirm-within", "1m")

    assert "note: generation 2 was never confirmed" in back.out
    assert "It is rolled back in 60 s unless you run `damonpolicy confirm`" in back.out
    assert [each[0] for each in guards] == [2, 4]
    assert pending.read(KSM_RUN) == "2"
    clock(61)
    assert pending.run("confirm").code == ExitCode.ROLLED_BACK
    assert pending.read(KSM_RUN) == "1"


def test_what_is_confirmed_once_can_be_gone_back_to(pending):
    pending.done("confirm")
    pending.done("apply", pending.setting("a", 0))
    pending.done("rollback")

    assert pending.read(KSM_RUN) == "2"


def test_an_apply_after_the_deadline_starts_from_before(pending, clock):
    clock(3601)
    outcome = pending.done("apply", pending.setting("b", 100, "/sys/kernel/mm/ksm/pages_to_scan"))

    assert "note: generation 2 was not confirmed in time" in outcome.out
    assert pending.read(KSM_RUN) == "1"
    assert sorted(pending.world.managed.policies) == ["a", "b"]


def test_a_rollback_after_the_deadline_does_not_go_one_further(pending, clock):
    clock(3601)
    pending.done("rollback")

    assert pending.read(KSM_RUN) == "1"


@pytest.mark.parametrize("words", [("apply",), ("remove", "a"), ("apply", "--boot")])
def test_other_changes_wait(pending, words):
    if words == ("apply",):
        words = ("apply", pending.setting("a", 0))
    before = len(pending.machine.log)
    outcome = pending.run(*words)

    assert outcome.code == ExitCode.BUSY
    assert "generation 2 waits to be confirmed" in outcome.err
    assert "`damonpolicy confirm` keeps it" in outcome.err
    assert len(pending.machine.log) == before


def test_looking_is_free_and_warns(pending):
    assert "warning[DP0613]: generation 2 waits to be confirmed" in pending.done("status").err
    planned = pending.run("plan", pending.setting("a", 0))
    assert planned.code == ExitCode.CHANGES
    assert "`apply` is refused" in planned.err
    assert pending.done("diff").out.endswith("No drift.\n")
    rows = pending.json("history")["data"]["generations"]
    assert [row["marks"] for row in rows] == [["confirmed"], ["now", "unconfirmed"]]
    assert pending.run("doctor").code == ExitCode.FAILED


def test_a_rollback_ends_the_waiting(pending):
    pending.done("rollback")

    assert pending.read(KSM_RUN) == "1"
    assert pending.run("confirm").code == ExitCode.USAGE
    pending.done("apply", pending.setting("a", 0))


def test_stopping_everything_ends_the_waiting(pending, clock):
    pending.done("stop", "--all")
    clock(3601)

    assert "nothing to recover" in pending.done("recover").out
    assert pending.read(KSM_RUN) == "0"
    assert not pending.world.managed.policies


@pytest.mark.parametrize("words", [("stop", "--all"), ("rollback", "0")], ids=["stop", "rollback"])
def test_what_cannot_be_rolled_back_holds_up_no_rescue(pending, clock, words, monkeypatch):
    """H7: the unconfirmed change ends with everything else."""
    clock(3601)
    write = EmulatedMachine.write

    def fails(machine, path, text):
        if (path, text) == (KSM_RUN, "1"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        write(machine, path, text)

    monkeypatch.setattr(EmulatedMachine, "write", fails)

    assert "unconfirmed change could not be rolled back" in pending.done(*words).out
    assert pending.read(KSM_RUN) == "0"


def test_a_first_change_goes_back_to_nothing(site, clock):
    before = site.world.look()
    site.done("apply", site.setting("a", 2), "--confirm-within", "10s")
    clock(11)
    site.done("recover")

    assert site.world.look() == before
    assert not site.world.managed.policies


def test_an_unconfirmed_change_does_not_come_back_at_boot(pending):
    pending.machine.reboot()
    pending.done("apply", "--boot")

    assert pending.read(KSM_RUN) == "1"


def test_the_guard_waits_and_rolls_back(pending):
    lines = guard(pending, 2, pending.world.managed.pending.deadline)

    assert lines == ["generation 2 was not confirmed in time: back to 1"]
    assert pending.read(KSM_RUN) == "1"


def test_the_guard_goes_when_it_is_confirmed(pending, monkeypatch, clock):
    deadline = pending.world.managed.pending.deadline

    def confirm(seconds):
        clock(seconds)
        if pending.world.managed.pending:
            pending.done("confirm")

    monkeypatch.setattr(recover.time, "sleep", confirm)

    assert guard(pending, 2, deadline) == ["generation 2 needs no guard any more"]
    assert pending.machine.monotonic() < deadline
    assert pending.read(KSM_RUN) == "2"


def test_the_guard_goes_when_a_later_generation_is_there(pending):
    pending.done("rollback")
    assert guard(pending, 2, pending.machine.monotonic() + 10) == [
        "generation 2 needs no guard any more"
    ]


def test_a_guard_of_a_change_that_never_came_changes_nothing(site):
    assert guard(site, 1, site.machine.monotonic() + 2) == ["generation 1 was settled in time"]
    assert site.writes() == []


def test_the_guard_speaks_on_stderr(pending, capsys, clock):
    clock(3601)
    recover_main(["--kernel", "emulated:7.3", "--state-dir", str(pending.directory),
                  "--guard", "2", "--deadline", "0"])  # fmt: skip

    assert "back to 1" in capsys.readouterr().err


def test_rescue_errors_have_their_exit_codes(pending, capsys):
    for words, code, said in (
        (["--kernel", "nonsense"], ExitCode.USAGE, "error[DP0501]: `nonsense` is not a kernel"),
        (["--kernel", "emulated:7.3", "--machine", "/nowhere"], ExitCode.USAGE, "machine file"),
    ):
        with pytest.raises(SystemExit) as stop:
            recover_main(words)
        assert stop.value.code == code
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [("0s", "is 0"), ("60", "has no unit"), ("soon", "`soon`"), ("-5s", "`-5s`"), ("", "``")],
)
def test_times_that_are_none(site, text, said):
    outcome = site.run("apply", site.setting("a", 1), "--confirm-within", text)

    assert outcome.code == ExitCode.USAGE
    assert "--confirm-within" in outcome.err
    assert said in outcome.err
    assert site.writes() == []


def test_without_a_guard_nothing_is_changed(site, monkeypatch):
    def fail(*_):
        raise OSError(11, os.strerror(11))

    monkeypatch.setattr("damonpolicy.cli.options.confirmation.start_guard", fail)
    outcome = site.run("apply", site.setting("a", 1), "--confirm-within", "1m")

    assert outcome.code == ExitCode.FAILED
    assert site.writes() == []
    assert site.json("history")["data"]["generations"] == []
    assert not site.world.managed.policies


@pytest.mark.parametrize("works", [True, False])
def test_systemd_keeps_the_guard_where_it_can(monkeypatch, works):
    ran, spawned = [], []
    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/run/systemd/system")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    def run(arguments, **_):
        ran.append(arguments)
        return SimpleNamespace(returncode=0 if works else 1)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "posix_spawn", lambda *given, **more: spawned.append((given, more)))

    start_guard(LiveMachine(), 7, 12.5, ["--state-dir", "s"])

    assert ran[0][:4] == [
        "/usr/bin/systemd-run", "--quiet", "--collect", "--unit=damonpolicy-confirm-7",
    ]  # fmt: skip
    assert ran[0][-8:] == [
        "--kernel", "live", "--guard", "7", "--deadline", "12.5", "--state-dir", "s",
    ]  # fmt: skip
    assert len(spawned) == (not works)
    for (path, arguments, _), more in spawned:
        assert arguments == ran[0][4:]
        assert path == arguments[0]
        assert more["setsid"]
