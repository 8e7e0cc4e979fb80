"""State is private to its owner, and somebody else's state is ignored."""

from __future__ import annotations

import os
import stat

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.machine import EmulatedMachine
from tests.conftest import run_cli
from tests.engine.site import shipped

STRANGER = 65533


@pytest.fixture
def seen(umask, tmp_path, monkeypatch, guards):
    """The modes of all that lies in a new state directory, at each write and after each command."""
    place = tmp_path / "var" / "lib" / "damonpolicy"
    modes: dict[str, set[str]] = {}
    write = EmulatedMachine.write

    def look():
        for parent, _, names in os.walk(tmp_path / "var"):
            for path in (parent, *(os.path.join(parent, name) for name in names)):
                name = os.path.relpath(path, place)
                modes.setdefault(name, set()).add(stat.filemode(os.lstat(path).st_mode))

    def looking(machine, path, text):
        look()
        write(machine, path, text)

    monkeypatch.setattr(EmulatedMachine, "write", looking)

    def done(*words):
        outcome = run_cli("--kernel", "emulated:7.3", "--state-dir", place, *words)
        assert outcome.code == 0, outcome.err
        look()

    for words in (
        ("apply", shipped("monitor")),
        ("apply", shipped("ksm"), "--confirm-within", "1h"),
        ("confirm",),
        ("rollback", "1"),
        ("recover",),
        ("remove", "monitor"),
        ("stop", "--all"),
    ):
        done(*words)
    return modes


def test_what_is_kept_is_private_whatever_the_umask(seen):
    """I8: under umask 0 another user could write what `rollback` and boot then apply."""
    directories = {name for name, modes in seen.items() if modes == {"drwx------"}}
    files = {name for name, modes in seen.items() if modes == {"-rw-------"}}

    assert {".", "..", "run", "lib", "lib/generations", "machine"} <= directories
    assert {
        "run/lock", "run/journal", "run/state.json", "run/state.copy.json", "run/.state.json.next",
        "lib/confirmed.json", "lib/generations/1.json", "lib/generations/2.json.staged",
    } <= files  # fmt: skip
    assert seen.keys() == directories | files


def given(site, what):
    """Return what somebody else shall own: the first generation, or what says which one counts."""
    return {
        "generation": site.places.generations / "1.json",
        "directory": site.places.generations,
        "confirmed.json": site.places.confirmed,
        "lib": site.places.lib,
    }[what]


def refused(site, path, *words):
    """Run a command that somebody else's file would decide: it ends before its first write."""
    before, written = site.world.look(), len(site.machine.log)
    outcome = site.run(*words)
    assert outcome.code == ExitCode.NO_PERMISSION, outcome.err
    assert f"`{path}` belongs to user {STRANGER}, who can change it" in outcome.err
    assert site.world.look() == before
    assert len(site.machine.log) == written
    assert not site.places.journal.exists()


@pytest.mark.parametrize("words", [("rollback", "1"), ("rollback",)], ids=" ".join)
@pytest.mark.parametrize("what", ["generation", "directory"])
def test_nobody_goes_back_to_somebody_elses_generation(site, give, what, words):
    """I8: a user who could change it would decide what root does."""
    site.done("apply", site.setting("a", 1))
    site.done("apply", site.setting("a", 2))
    path = given(site, what)
    give(path, STRANGER)
    refused(site, path, *words)
    give(path, os.geteuid())

    assert "Back to generation 1" in site.done(*words).out


@pytest.mark.parametrize("what", ["generation", "directory", "confirmed.json", "lib"])
def test_boot_applies_nothing_of_somebody_else(site, give, what):
    """I8: no user is there to see the answer."""
    site.done("apply", site.setting("a", 1))
    site.machine.reboot()
    path = given(site, what)
    give(path, STRANGER)
    refused(site, path, "apply", "--boot")
    give(path, os.geteuid())
    site.done("apply", "--boot")

    assert list(site.world.managed.policies) == ["a"]


@pytest.mark.parametrize("what", ["generation", "directory", "confirmed.json", "lib"])
def test_everything_is_stopped_all_the_same(site, give, what):
    """I8: a rescue does without."""
    before = site.world.look()
    site.done("apply", shipped("ksm"))
    give(given(site, what), STRANGER)
    site.done("stop", "--all")

    assert site.world.look() == before
