"""Faults of our own files: none after the commit point fails a change, and undoing still works."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from damonpolicy.base import trust
from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import recover
from damonpolicy.engine.store import Store
from tests.engine.site import KSM_RUN, shipped

FULL = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EMFILE]
UNLOCKED = (errno.EACCES, errno.EMFILE)
"""Where even the lock cannot be opened, another user or another process has to come."""
KEPT = pytest.mark.parametrize("code", FULL, ids=errno.errorcode.get)


@KEPT
def test_what_follows_the_commit_point_fails_no_change(site, disk, code):
    """A1: the kernel has changed and the state file says so; the next command does the rest."""
    site.done("apply", site.setting("a", 1))
    disk[site.places.confirmed] = code
    outcome = site.done("apply", site.setting("a", 2))

    assert "generation 2 will not come back at boot" in outcome.out
    assert site.read(KSM_RUN) == "2"
    for words in (("status",), ("recover",), ("diff",), ("history",), ("rollback", "1")):
        assert site.run(*words).code == 0, words
    assert site.read(KSM_RUN) == "1"
    disk.clear()
    site.done("recover")
    assert site.world.managed.generation == 3
    assert Store(site.places).confirmed() == 3


def test_a_state_file_that_arrived_with_an_error_counts(site, monkeypatch):
    """A1: the commit point is the file that is there, not what the call said."""
    site.done("apply", site.setting("a", 1))
    replace = os.replace

    def replaced(old, new, **options):
        replace(old, new, **options)
        if Path(new) == site.places.state:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(new))

    monkeypatch.setattr(os, "replace", replaced)
    site.done("apply", site.setting("a", 2))
    monkeypatch.undo()

    assert site.read(KSM_RUN) == "2"
    assert site.done("status")
    assert site.world.managed.generation == 2


def test_what_ends_half_way_without_a_journal_is_told_to_be_run_again(site, disk, monkeypatch):
    policy = shipped("monitor")
    site.done("apply", policy)
    before = site.world.look()
    write = EmulatedMachine.write

    def fails(machine, path, text):
        if site.machine.log[-1].path.endswith("state") and site.machine.log[-1].text == "off":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        write(machine, path, text)

    disk |= {site.places.run: errno.ENOSPC}
    monkeypatch.setattr(EmulatedMachine, "write", fails)
    outcome = site.run("remove", "monitor")

    assert outcome.code == ExitCode.ROLLBACK_INCOMPLETE
    assert "no journal could be kept" in outcome.err
    assert "give the same command again" in outcome.err
    disk.clear()
    monkeypatch.undo()
    assert site.world.look() != before
    site.done("remove", "monitor")
    assert not site.world.managed.policies


@KEPT
def test_a_lost_generation_is_written_again(site, disk, code):
    site.done("apply", site.setting("a", 1))
    disk[site.places.generations] = code
    assert site.run("apply", site.setting("a", 2)).code in (ExitCode.FAILED, ExitCode.NO_PERMISSION)
    assert site.read(KSM_RUN) == "1", "an apply needs its generation before the first write"
    assert "generation 2 is not kept" in site.done("rollback", "0").out
    assert site.read(KSM_RUN) == "0"
    disk.clear()
    site.done("recover")

    assert Store(site.places).numbers() == [1, 2]


@KEPT
@pytest.mark.parametrize("where", ["lib", "run", "both"])
def test_everything_can_be_stopped_where_nothing_can_be_written(site, disk, code, where):
    site.done("apply", shipped("monitor"))
    site.done("remove", "monitor")
    before = site.world.look()
    site.done("apply", shipped("ksm"))
    disk |= {getattr(site.places, each): code for each in ("lib", "run") if where in (each, "both")}
    if code not in UNLOCKED or where == "lib":
        assert site.run("stop", "--all").code == 0
        assert site.world.look() == before
    disk.clear()
    site.done("recover")
    site.done("stop", "--all")

    assert site.world.look() == before
    site.done("apply", shipped("ksm"))
    assert site.done("diff").out.endswith("No drift.\n")


@KEPT
def test_the_rescue_path_needs_no_library_and_no_room(site, disk, code, capsys):
    before = site.world.look()
    site.done("apply", shipped("ksm"))
    disk[site.places.lib] = code
    recover.main(["--kernel", "emulated:7.3", "--state-dir", str(site.directory), "--stop-all"])

    assert "everything is stopped" in capsys.readouterr().err
    assert site.world.look() == before


def test_a_failed_apply_leaves_no_generation(site, monkeypatch):
    """A2: a generation counts only once it was committed, so that `rollback` never leads to it."""
    site.done("apply", site.setting("a", 1))
    with monkeypatch.context() as patched:
        patched.setattr("damonpolicy.engine.watch.alive", lambda *_: (-1, "dead"))
        assert site.run("apply", shipped("ksm")).code == ExitCode.ROLLED_BACK

    assert Store(site.places).numbers() == [1]
    assert "Back to generation 0" in site.done("rollback").out


def test_a_short_write_of_an_intent_is_finished(site, monkeypatch):
    """H6: half a line would hide all later lines from the recovery after a crash."""
    real = os.pwrite

    def short(descriptor, data, offset):
        return real(descriptor, data[: max(1, len(data) // 2)], offset)

    monkeypatch.setattr(os, "pwrite", short)
    before = site.world.look()
    site.killed(lambda path, text: text == "on", "ksm")
    monkeypatch.undo()

    assert "everything is as it was before" in site.done("recover").out
    assert site.world.look() == before


@KEPT
def test_an_intent_that_cannot_be_written_ends_the_change(site, monkeypatch, code):
    """H6: nothing is done of which the journal does not tell."""
    before = site.world.look()
    real, seen = os.pwrite, []

    def full(descriptor, data, offset):
        if b"intent" in data:
            seen.append(data)
            if len(seen) == 3:
                real(descriptor, data[:7], offset)
                raise OSError(code, os.strerror(code))
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    outcome = site.run("apply", shipped("ksm"))

    assert outcome.code == ExitCode.ROLLED_BACK
    assert site.world.look() == before
    assert not site.places.journal.exists()


def test_a_damaged_state_file_is_read_from_its_copy(site):
    before = site.world.look()
    site.done("apply", shipped("ksm"))
    site.places.state.write_text("{")

    assert "it was written again from its copy" in site.done("recover").out
    assert "nothing to recover" in site.done("recover").out
    site.places.state.write_text("{")
    assert site.done("diff").out.endswith("No drift.\n")
    site.done("stop", "--all")
    assert site.world.look() == before


def test_what_was_ended_first_is_told_with_whatever_fails_then(site):
    site.killed(lambda path, text: text == "on", "ksm")
    outcome = site.run("confirm")

    assert outcome.code == ExitCode.USAGE
    assert "nothing waits to be confirmed; before that, generation 1 was interrupted" in outcome.err


def test_looking_at_drift_tells_of_an_interrupted_transaction(site):
    site.killed(lambda path, text: text == "on", "ksm")

    assert "warning[DP0612]" in site.run("diff").err
    site.done("recover")
    assert "DP0612" not in site.run("diff").err


RECLAIM = shipped("proactive-reclaim")


def test_nothing_is_started_that_cannot_be_written_down(site, disk):
    """A kdamond without a record would count as someone else's."""
    site.done("apply", shipped("monitor"))
    site.done("apply", RECLAIM)
    site.done("remove", "proactive-reclaim")
    before = site.world.look()
    disk[site.places.run] = errno.ENOSPC

    assert site.run("rollback").code == ExitCode.FAILED
    assert site.world.look() == before
    disk.clear()
    assert "Back to generation 2" in site.done("rollback").out
    assert all(each["owner"] == "ours" for each in site.json("status")["data"]["kdamonds"])


def test_no_guard_brings_back_what_was_stopped(site, disk, monkeypatch):
    monkeypatch.setattr("damonpolicy.cli.options.confirmation.start_guard", lambda *_: None)
    site.done("apply", site.setting("a", 1))
    site.done("apply", site.setting("a", 2), "--confirm-within", "1h")
    real = os.replace

    def full(source, target, **options):
        if str(target).endswith("state.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return real(source, target, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        site.done("stop", "--all")
    assert site.read(KSM_RUN) == "0"
    assert site.world.managed.pending is None
    site.done("recover")
    assert site.read(KSM_RUN) == "0"


def test_an_older_try_does_not_become_the_generation(site, monkeypatch):
    """A kill leaves what it had staged under the number that comes next."""
    site.done("apply", site.setting("a", 1))
    site.killed(lambda path, text: text == "on", "ksm")
    staged = site.places.generations / "2.json.staged"
    assert staged.exists()
    kept = staged.read_bytes()
    site.done("recover")
    staged.write_bytes(kept)
    monkeypatch.setattr(Store, "stage", _full)
    site.done("stop", "--all")

    assert Store(site.places).generation(2).policies == {}


def _full(self, generation):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_change_that_waits_is_taken_back_without_the_library(site, monkeypatch):
    monkeypatch.setattr("damonpolicy.cli.options.confirmation.start_guard", lambda *_: None)
    site.done("apply", site.setting("a", 1))
    site.done("apply", site.setting("a", 2), "--confirm-within", "1h")
    (site.places.generations / "1.json").unlink()

    site.done("rollback")
    assert site.read(KSM_RUN) == "1"


def test_a_journal_needs_no_state_file(site):
    before = site.world.look()
    site.killed(lambda path, text: text == "on", "ksm")
    for path in (site.places.state, site.places.state_copy):
        path.write_text("{}")

    assert "everything is as it was before" in site.done("recover").out
    assert site.world.look() == before
    site.done("apply", shipped("ksm"))


def test_a_library_that_cannot_be_looked_at_holds_up_nothing(site, monkeypatch):
    before = site.world.look()
    site.done("apply", shipped("ksm"))

    def unreadable(path):
        if "generations" in str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    real = trust.read_own
    monkeypatch.setattr(trust, "read_own", unreadable)
    site.done("stop", "--all")
    assert site.world.look() == before
