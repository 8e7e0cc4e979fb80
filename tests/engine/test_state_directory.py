"""The places of state, and the machine of a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from damonpolicy.base.errors import DamonPolicyError, NoPermission, UsageError
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import journal
from damonpolicy.engine.lock import exclusive
from damonpolicy.engine.machines import open_machine
from damonpolicy.engine.state_directory import find
from damonpolicy.kernel.system.machine import LiveMachine

LIVE_LOCK = Path("/run/damonpolicy/lock")


def test_the_live_machines_state():
    places = find(LiveMachine(), None)

    assert places.lock == LIVE_LOCK
    assert places.journal == Path("/run/damonpolicy/journal")
    assert places.state == Path("/run/damonpolicy/state.json")
    assert places.generations == Path("/var/lib/damonpolicy/generations")
    assert places.confirmed == Path("/var/lib/damonpolicy/confirmed.json")


def test_all_but_the_live_lock_can_be_moved(tmp_path):
    """Two commands with different state directories still change one machine."""
    places = find(LiveMachine(), tmp_path)

    assert places.lock == LIVE_LOCK
    assert places.state == tmp_path / "run/state.json"
    assert places.generations == tmp_path / "lib/generations"


def test_an_emulated_machines_state_is_the_users(tmp_path, monkeypatch):
    machine = EmulatedMachine.create("7.3")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert find(machine, None).lock == tmp_path / "xdg/damonpolicy/emulated-7.3/run/lock"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    home = tmp_path / ".local/state/damonpolicy/emulated-7.3"
    assert find(machine, None).state == home / "run/state.json"
    assert find(machine, tmp_path / "s").lock == tmp_path / "s/run/lock"


def test_which_machine_a_name_means(tmp_path):
    assert isinstance(open_machine("live"), LiveMachine)
    assert open_machine("emulated:6.18", tmp_path).name == "emulated:6.18"
    for name in ("", "emulated", "emulated:", "root:/", "LIVE"):
        with pytest.raises(UsageError, match="is not a kernel") as caught:
            open_machine(name)
        assert "`live`" in caught.value.hint


@pytest.fixture
def denied(monkeypatch):
    """Somebody who is not root."""

    def refuse(path, flags, *rest):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", lambda path: refuse(path, 0))


def test_a_lock_that_may_not_be_opened(tmp_path, denied):
    with pytest.raises(NoPermission, match="permission denied") as caught:
        exclusive(tmp_path / "lock", wait=False).__enter__()
    assert caught.value.hint.startswith("run as root")


def test_a_journal_that_may_not_be_read(tmp_path, denied):
    with pytest.raises(DamonPolicyError, match=r"cannot read the journal .*: permission denied"):
        journal.read(tmp_path / "journal")
