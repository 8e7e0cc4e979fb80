"""Processes that end while a commit is under way, and their replacements."""

from __future__ import annotations

import pytest

from damonpolicy.daemon.jobs.follow import FollowJob
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.followed import AREA, KERNELS, WATCH, follow, following, kdamond, watched


@pytest.fixture(params=KERNELS)
def desk(request, tmp_path):
    yield from following(request.param, tmp_path / "policies")


@pytest.fixture(params=KERNELS)
def aging(request, tmp_path, monkeypatch):
    """A machine on whose clock processes are as old as they are, not long past their youth."""
    monkeypatch.setattr("damonpolicy.emulated.machine._BOOT", 0.0)
    yield from following(request.param, tmp_path / "policies")


def second_worker(desk):
    """Start a worker that is old enough to be followed, beside one that is."""
    desk.world.machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()
    second = desk.world.machine.start_process("worker", areas=[AREA])
    desk.world.machine.sleep(1)
    return second


@pytest.mark.parametrize("starts_at", ["the look", "the commit"])
def test_who_is_young_takes_the_place_of_one_that_ends_meanwhile(aging, starts_at):
    """A14: the list of targets stays as long as it is, so that no other one is written again."""
    machine = aging.world.machine
    second = second_worker(aging)
    young, counts = [], []

    def start():
        young.append(machine.start_process("worker", areas=[AREA]))

    def ends(_, path, text):
        if path.endswith("nr_targets"):
            counts.append(text)
        if text == "commit" and len(counts) == 1 and starts(machine, second):
            if not young:
                start()
            machine.exit_process(second)

    machine.before_write = ends
    if starts_at == "the look":
        start()
    aging.keeper.table.update()
    assert aging.follower.look(everything=True)

    assert young[0] in watched(aging)
    assert second not in watched(aging)
    assert counts == ["2"] or aging.keeper.capabilities.known("commit") != "yes"


def test_who_starts_during_a_commit_is_looked_at_soon_after(desk):
    """Also where the service has heard of it while it committed, for the place of another."""
    machine = desk.world.machine
    second = second_worker(desk)
    started = set()

    class Told:
        def read(self):
            told = {*started}
            started.clear()
            return told

    desk.follower.events = Told()
    job = FollowJob(desk.follower)

    def ends(_, __, text):
        if text == "commit" and starts(machine, second):
            started.update(machine.start_process("worker", areas=[AREA]) for _ in range(2))
            started.add(second)
            machine.exit_process(second)

    machine.before_write = ends
    desk.keeper.table.update()
    job.run()

    assert not starts(machine, second)
    assert job.due <= machine.monotonic() + job.often


@pytest.mark.parametrize("action", ["stat", "cold"])
def test_nobody_is_acted_upon_where_one_that_ended_had_its_memory(desk, action):
    """A kernel that cannot drop a target gives its regions to the next one at a commit."""
    machine = desk.world.machine
    first = machine.start_process("worker", areas=[AREA])
    others = {machine.start_process("worker", areas=[AREA]) for _ in range(2)}
    desk.put("w.yaml", WATCH.replace("stat", action))
    desk.rest()
    thread = kdamond(desk)
    others.add(machine.start_process("worker", areas=[AREA]))

    def ends(_, path, text):
        if text == "commit" and starts(machine, first):
            machine.exit_process(first)

    machine.before_write = ends
    follow(desk)
    machine.before_write = None
    follow(desk)

    assert watched(desk) == others
    drops = desk.world.machine.exists(f"{KDAMONDS}/0/contexts/0/targets/0/obsolete_target")
    if action == "cold" and not drops:
        assert kdamond(desk) != thread


@pytest.mark.parametrize("moment", ["nr_targets", "commit"])
@pytest.mark.parametrize("reused", [False, True], ids=["free", "reused"])
def test_who_ends_while_a_commit_is_under_way_is_nobodys_trouble(desk, moment, *, reused):
    """The kernel looks pids up when it takes a commit; 6.12 ends a kdamond with a dead one."""
    machine = desk.world.machine
    first, other = (machine.start_process("worker", areas=[AREA]) for _ in range(2))
    desk.put("w.yaml", WATCH)
    desk.rest()
    third = machine.start_process("worker", areas=[AREA])
    taken = []

    def ends(_, path, text):
        if path.endswith(moment) or text == moment:
            machine.before_write = None
            machine.exit_process(first)
            if reused:
                machine.start_process("stranger", pid=first, areas=[AREA])
            taken.append(first)

    machine.before_write = ends
    follow(desk)
    if not taken:
        return  # this kernel's kdamonds are restarted, not committed to
    machine.before_write = None
    follow(desk)

    assert watched(desk) == {other, third}
    assert desk.follower.trouble == ""
    assert not desk.world.places.journal.exists()
    assert not follow(desk)
