"""Processes that end at each write of a transaction: nothing gets stuck."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from tests.faults.scenarios import WORKERS
from tests.world import STAT_OFF, World

POLICY = WORKERS % "{name: seen, action: stat}"
KERNELS = ("6.1", "6.12", "6.18", "6.19", "7.3")
WHO = {
    "a new one": (3,),
    "an old one": (1,),
    "the first": (0,),
    "all old ones": (0, 1, 2),
    "everybody": (0, 1, 2, 3),
}


def watched(world):
    running = world.machine._kdamonds.running("0")
    return {int(each["pid"]) for each in running["targets"]} if running else set()


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("kernel", KERNELS)
def test_at_every_write(kernel, who):
    at, undone = 0, 0
    while True:
        at += 1
        world = World.make(kernel)
        if world.machine.exists(STAT_OFF):
            world.write(STAT_OFF, "N")
        pids = [world.machine.start_process("worker", areas=[{"size": "1MiB"}]) for _ in range(3)]
        world.apply("watch", text=POLICY)
        pids.append(world.machine.start_process("worker", areas=[{"size": "1MiB"}]))
        writes = vanish(world, at, [pids[index] for index in WHO[who]])
        try:
            world.apply("watch", text=POLICY)
        except DamonPolicyError as error:
            assert error.exit_code != ExitCode.ROLLBACK_INCOMPLETE, f"write {at}: {error}"
            undone += 1
        assert not world.places.journal.exists()
        if writes["seen"] < at:
            world.close()
            break
        world.apply("watch", text=POLICY)
        living = {pid for index, pid in enumerate(pids) if index not in WHO[who]}
        assert watched(world) == living, f"write {at}"
        assert not world.machine.poisoned
        world.close()

    assert at > 3
    if who == "everybody":
        assert undone, "some commit failed for it"


def vanish(world, at, pids):
    """End processes right before a write; returns the counter of writes."""
    seen = {"seen": 0}

    def hook(*_):
        seen["seen"] += 1
        if seen["seen"] == at:
            for pid in pids:
                world.machine.exit_process(pid)

    world.machine.before_write = hook
    return seen
