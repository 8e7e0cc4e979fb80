"""A change to long intervals that is undone: kdamonds with them answer late."""

from __future__ import annotations

import errno
import itertools
import os

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.engine import execute
from tests.faults.faulty import Fault, FaultyMachine
from tests.faults.test_strangers import HELD
from tests.faults.verdict import attempt
from tests.world import STAT_OFF, World, fail_at, flat

POLICY = """\
version: 1
name: a
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    intervals: {{sample: {sample}, aggregation: {aggregation}}}
    schemes: [{{name: s, action: stat}}]
"""
SHORT = POLICY.format(sample="5ms", aggregation="100ms")
LONG = POLICY.format(sample="20s", aggregation="40s")
SAMPLE = "monitoring_attrs/intervals/sample_us"


@pytest.fixture
def start():
    """Make machines on which a policy runs."""
    made = []

    def start(text=SHORT):
        world = World.make("7.3")
        world.write(STAT_OFF, "N")
        world.apply("a", text=text)
        made.append(world)
        return world

    yield start
    for world in made:
        world.close()


def edit(world, machine, text=LONG):
    return attempt(lambda: World(machine, world.directory).apply("a", text=text))


@pytest.mark.parametrize(("old", "new"), [(SHORT, LONG), (LONG, SHORT)], ids=["longer", "shorter"])
def test_an_undo_waits_for_the_answer_of_what_runs(start, monkeypatch, old, new):
    """The kernel answers between two samples, twice at most: a commit of the old ones, too."""

    def within(machine, operation, seconds):
        running = machine.running(operation.slot)
        answer = int(flat(running)[SAMPLE]) / 1e6 * 2 if running else 0
        machine.sleep(min(answer, seconds))
        if answer > seconds:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), operation.path)
        machine.write(operation.path, operation.after)

    monkeypatch.setattr(execute, "_within", within)
    long = 0
    for at in itertools.count(1):
        world = start(old)
        before, seen = world.look(), fail_at(world.machine, at)
        began = world.machine.monotonic()
        error = edit(world, world.machine, new)
        world.machine.before_write = None
        if seen["writes"] < at:
            assert error is None
            break
        long += world.machine.monotonic() - began >= 40
        assert error.exit_code == ExitCode.ROLLED_BACK, (at, error)
        assert world.look() == before, (at, error)

    assert long, "none was undone that ran with the long intervals"


def test_an_undo_waits_for_whoever_asks_it(start):
    """H1: somebody else's question to our kdamond holds DAMON's lock as long as that takes."""
    world = start()
    plain = FaultyMachine(world.machine)
    assert edit(world, plain) is None
    first = next(at for at, call in enumerate(plain.calls, 1) if call.startswith("write"))
    for at in range(first, len(plain.calls) + 1, 2):
        world = start()
        before = world.look()
        machine = FaultyMachine(world.machine, [Fault(at, "lock")], locked=100)
        error = edit(world, machine)
        assert machine.hit
        world.machine.sleep(100)
        if error is not None:
            assert error.exit_code in HELD, (at, error)
            assert world.look() == before, (at, error)
            assert not world.places.journal.exists(), (at, error)
