"""An unconfirmed change without room for generations: every way out works."""

from __future__ import annotations

import errno

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.engine import recover
from damonpolicy.engine.store import Store
from tests.engine.test_confirm import guard
from tests.engine.test_own_files import FULL
from tests.world import STAT_OFF

KDAMOND = """\
version: 1
name: a
kdamonds: [{{name: k, ops: {ops}, targets: [{target}], schemes: [{{name: s, action: stat}}]}}]
settings: {{/proc/sys/vm/swappiness: 70}}
"""
PADDR = KDAMOND.format(ops="paddr", target="{numa_node: 1}")
VADDR = KDAMOND.format(ops="vaddr", target="{process: {pid: 1}}")

WAITING = {
    "a setting": (
        lambda site: site.setting("a", 1),
        lambda site: site.setting("a", 2),
    ),
    "a kdamond that restarts": (
        lambda site: site.policy("a", PADDR),
        lambda site: site.policy("a", VADDR),
    ),
}


class Pending:
    """Generation 2 waits for an hour, and ``lib`` takes nothing any more."""

    def __init__(self, site, disk, clock, policies, code):
        self.site, self.disk, self.clock = site, disk, clock
        site.world.write(STAT_OFF, "N")
        self.nothing = site.world.look()
        first, second = policies
        site.done("apply", first(site))
        self.before = site.world.look()
        site.done("apply", second(site), "--confirm-within", "1h")
        self.after = site.world.look()
        disk[site.places.lib] = code

    @property
    def waits(self):
        return self.site.world.managed.pending is not None

    def late(self):
        self.clock(3601)

    def boots(self, generation, look):
        """With room again, the rest is done, and a boot restores that generation."""
        seen = self.site.world.look()
        self.disk.clear()
        self.site.done("recover")
        assert self.site.world.look() == seen
        store = Store(self.site.places)
        assert store.confirmed() == generation
        assert not store.generation(generation).awaits
        assert store.numbers() in ([1, 2, generation], [1, 2]), "what was not kept leaves a gap"
        self.site.machine.reboot()
        self.site.world.write(STAT_OFF, "N")
        self.site.done("apply", "--boot")
        assert self.site.world.look() == look


@pytest.fixture(params=FULL, ids=errno.errorcode.get)
def code(request):
    return request.param


@pytest.fixture(params=WAITING)
def pending(request, site, disk, clock, guards, code):
    return Pending(site, disk, clock, WAITING[request.param], code)


def test_it_is_confirmed_all_the_same(pending):
    """H7: the note says what a boot will not restore, and nothing is rolled back."""
    outcome = pending.site.done("confirm")
    assert "generation 2 is confirmed" in outcome.out
    assert "generation 2 will not come back at boot, but generation 1" in outcome.out
    assert not pending.waits
    pending.late()
    assert guard(pending.site, 2, 0) == ["generation 2 needs no guard any more"]

    assert pending.site.world.look() == pending.after
    assert pending.site.run("confirm").code == ExitCode.USAGE
    pending.boots(2, pending.after)


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_it_is_rolled_back(pending, late):
    """H7: by hand, or by the first command after the deadline."""
    if late:
        pending.late()
    outcome = pending.site.done("rollback")

    assert "generation 3 is not kept" in outcome.out
    assert pending.site.world.look() == pending.before
    assert not pending.waits
    pending.boots(3, pending.before)


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_everything_is_stopped(pending, late):
    """H7: whatever waits."""
    if late:
        pending.late()
    pending.site.done("stop", "--all")

    assert pending.site.world.look() == pending.nothing
    assert not pending.waits
    assert "nothing waits" in pending.site.run("confirm").err or late
    pending.boots(4 if late else 3, pending.nothing)


def test_the_guard_needs_no_room(pending, monkeypatch):
    """H7: there may be no room for long, and no other command may come."""
    deadline, naps = pending.site.world.managed.pending.deadline, []
    pending.clock(3590)

    def nap(seconds):
        naps.append(seconds)
        assert len(naps) < 20, "it tries for ever"
        pending.clock(seconds)

    monkeypatch.setattr(recover.time, "sleep", nap)
    lines = guard(pending.site, 2, deadline)

    assert "generation 2 was not confirmed in time: back to 1" in lines
    assert pending.site.world.look() == pending.before
    pending.boots(3, pending.before)


def test_recovery_needs_no_room(pending):
    """H7: in time it leaves the change alone, and after that rolls it back."""
    pending.site.done("recover")
    assert pending.site.world.look() == pending.after
    assert pending.waits
    pending.late()
    outcome = pending.site.done("recover")

    assert "generation 2 was not confirmed in time: back to 1" in outcome.out
    assert pending.site.world.look() == pending.before
    assert pending.site.run("confirm").code in (ExitCode.ROLLED_BACK, ExitCode.USAGE)
    pending.boots(3, pending.before)


def test_a_policy_is_removed_after_the_deadline(pending):
    """H7: in time it has to wait, as every other change."""
    assert pending.site.run("remove", "a").code == ExitCode.BUSY
    pending.late()
    pending.site.done("remove", "a")

    assert pending.site.world.look() == pending.nothing
    pending.boots(4, pending.nothing)
