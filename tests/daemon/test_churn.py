"""A hundred processes start and end each second: those that live long enough are joined.

On an emulated machine on which each look and write takes its time, as on a real one, and the world
goes on meanwhile. `python -m tests.guest.churn` does the same on real kernels.
"""

from __future__ import annotations

import heapq
import random
import statistics

import pytest

from damonpolicy.daemon.jobs.follow import Follower, FollowJob
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.processes import Table
from tests.daemon.conftest import Desk
from tests.daemon.followed import AREA, WATCH, watched
from tests.world import STAT_OFF, World, in_memory_directory

CALL = 15e-6
"""Seconds that a look or a write takes: on a real machine, in Python, about as many."""
RATE, SECONDS = 100, 8
SHORT, LONG, LASTS = 1.5, 4.0, 2.0


class Lively:
    """A machine that takes its time, while processes start and end by a plan of their own."""

    CALLS = ("read", "read_bytes", "write", "scan", "resolve", "exists")

    def __init__(self, machine, until):
        self.machine, self.chance, self.until = machine, random.Random(11), until
        self.coming = [(machine.monotonic() + number / RATE, 0)
                       for number in range(int(RATE * until))]  # fmt: skip
        self.lives, self.starts = {}, {}

    def __getattr__(self, name):
        inner = getattr(self.machine, name)
        if name not in self.CALLS:
            return inner

        def call(*arguments):
            self.machine.sleep(CALL)
            self.happen()
            return inner(*arguments)

        return call

    def happen(self):
        """Let whatever is due start or end."""
        now = self.machine.monotonic()
        while self.coming and self.coming[0][0] <= now:
            _, pid = heapq.heappop(self.coming)
            if pid:
                self.machine.exit_process(pid)
                continue
            pid = self.machine.start_process("worker", areas=[AREA])
            life = self.chance.uniform(SHORT, LONG)
            self.lives[pid] = (now, life)
            self.starts[pid] = starts(self.machine, pid)
            heapq.heappush(self.coming, (now + life, pid))


@pytest.mark.unmeasured
@pytest.mark.parametrize("kernel", ["6.12", "7.3"])
def test_who_lives_long_enough_is_joined_within_a_second(kernel, tmp_path):
    spec = {"nodes": [{"cpus": "0-3", "memory": "16GiB"}]}
    world = World(EmulatedMachine.create(kernel, spec=spec), in_memory_directory())
    if world.machine.exists(STAT_OFF):
        world.write(STAT_OFF, "N")
    desk = Desk(world, tmp_path / "policies")
    desk.put("w.yaml", WATCH)
    desk.rest()
    machine = desk.keeper.machine = Lively(world.machine, SECONDS)
    desk.keeper.table = Table(machine)
    begin, joined = world.machine.monotonic(), {}
    job = FollowJob(Follower(desk.keeper), poll=0.25)
    while (now := world.machine.monotonic()) < begin + SECONDS:
        commits = job.follower.commits
        if job.due <= now:
            job.run()
        if job.follower.commits > commits:
            for pid in watched(desk):
                joined.setdefault(pid, world.machine.monotonic())
            for slot in world.managed.slots.values():
                assert all(machine.starts[pid] == start for pid, start in slot.members)
        world.machine.sleep(0.01)
        machine.happen()

    waits = [joined.get(pid, float("inf")) - start
             for pid, (start, life) in machine.lives.items()
             if life >= LASTS and start + life < begin + SECONDS]  # fmt: skip
    assert len(waits) > RATE
    assert sum(each < float("inf") for each in waits) >= 0.9 * len(waits)
    assert statistics.median(waits) <= 1.0
    assert set(joined) <= set(machine.lives)
    assert not world.machine.poisoned
    world.close()
