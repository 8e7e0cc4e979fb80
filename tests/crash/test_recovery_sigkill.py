"""A recovery killed right after the `on` of its undo, before it recorded the thread."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import journal
from tests.engine.site import Site
from tests.policies import SWAPPY
from tests.world import STAT_OFF, World

pytestmark = pytest.mark.unmeasured  # what is killed has covered nothing


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    made = Site()
    made.world.write(STAT_OFF, "N")
    made.world.apply("a", text=SWAPPY)
    yield made
    made.close()


def killed_behind(site, ends, do):
    """Let a process do something, and kill it right behind a write."""
    child = os.fork()
    if child == 0:
        try:
            machine = EmulatedMachine.create(site.kernel, store=site.directory / "machine")
            write = machine.write

            def killing(path, text):
                write(path, text)
                if f"{path} {text}".endswith(ends):
                    os.kill(os.getpid(), signal.SIGKILL)

            machine.write = killing
            do(World(machine, site.directory))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child was not killed"


def remove(world):
    world.remove("a")


def restart(world):
    """An edit that no commit can bring about."""
    other = SWAPPY.replace("ops: paddr", "ops: vaddr")
    world.apply("a", text=other.replace("{numa_node: 1}", "{process: {pid: 1}}"))


def online(world):
    world.apply("a", text=SWAPPY.replace("action: stat", "action: stat, max_snapshots: 3"))


def recover(world):
    world.recover()


def recover_unwritten(world):
    """There is no room for the lines of an undo."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal.write_all = full
    world.recover()


@pytest.mark.parametrize("first", [recover, recover_unwritten])
@pytest.mark.parametrize(
    ("do", "ends"),
    [
        (remove, "/0/state off"),
        (remove, "/nr_kdamonds 0"),
        (restart, "/0/state off"),
        (restart, "/0/state on"),
    ],
    ids=["remove, off", "remove, wiped", "restart, off", "restart, on"],
)
def test_what_a_killed_recovery_has_started_is_ours(site, do, ends, first):
    """H2: it is what shall run, so the next recovery is done, and the command works again."""
    before = site.world.look()
    killed_behind(site, ends, do)
    assert site.world.look() != before
    _recovered_twice(site, before, first)


def test_so_is_what_it_has_started_because_it_had_ended(site):
    """H2: it still runs, so that only the undo's line says whose it is."""
    before = site.world.look()
    killed_behind(site, "/0/state commit", online)
    site.world.write("0/state", "off")
    _recovered_twice(site, before, recover)


def _recovered_twice(site, before, first):
    killed_behind(site, "/0/state on", first)
    _, progress, _ = journal.read(site.places.journal)
    assert not progress.restarted, "the thread was not noted"
    site.done("recover")

    assert site.world.look() == before
    assert not site.places.journal.exists()
    assert [each["owner"] for each in site.json("status")["data"]["kdamonds"]] == ["ours"]
    site.done("remove", "a")
    assert site.machine.running(0) is None
