"""Processes that end while a transaction is under way: the rest is committed at once."""

from __future__ import annotations

import errno

import pytest

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.observe.status.document import drift
from damonpolicy.plan.machine_state import retrieve
from tests.crash.test_sigkill import copied, in_child, opened
from tests.daemon.followed import AREA, WATCH, follow, following, kdamond, watched
from tests.world import STAT_OFF, World, in_memory_directory

KERNELS = ("6.6", "6.12", "6.16", "6.18", "6.19", "7.3")
ONLINE = ("6.19", "7.3")
"""Kernels that refuse a commit with a dead pid, and take targets out of the middle."""


@pytest.fixture(params=KERNELS)
def desk(request, tmp_path):
    yield from following(request.param, tmp_path / "policies")


def crowd(desk, count=4):
    return [desk.world.machine.start_process("worker", areas=[AREA]) for _ in range(count)]


def writes(desk):
    """How many writes it takes to follow one that comes and one that goes."""
    machine = desk.world.machine
    before = len(machine.log)
    assert follow(desk)
    return len(machine.log) - before


def test_whoever_ends_at_any_write_is_left_out_and_the_rest_is_committed_at_once(desk):
    """One that was monitored, and one that was to join: in the same transaction, without an undo."""
    machine, keeper = desk.world.machine, desk.keeper
    alive = crowd(desk)
    desk.put("w.yaml", WATCH)
    desk.rest()
    crowds = crowd(desk, 2)
    machine.exit_process(alive.pop(0))
    alive += crowds
    count = writes(desk)
    thread = kdamond(desk)
    positions = range(0, count, 1 if count < 40 else 3)
    for position in positions:
        for choose in (0, -1):
            alive += crowd(desk, 2)
            machine.exit_process(alive.pop(1))
            left, ended = [position], []

            def ends(_, path, text, left=left, ended=ended, who=alive[choose]):
                left[0] -= 1
                if left[0] < 0 and not ended:
                    ended.append(who)
                    machine.exit_process(who)

            commits, rollbacks = desk.follower.commits, keeper.rollbacks
            machine.before_write = ends
            follow(desk)
            machine.before_write = None
            alive = [pid for pid in alive if pid not in ended]
            assert desk.follower.commits == commits + 1, (position, choose)
            assert keeper.rollbacks == rollbacks, (position, choose)
            assert watched(desk) - set(ended) == set(alive), (position, choose)
            follow(desk)
            assert watched(desk) == set(alive), (position, choose)
    assert not desk.world.places.journal.exists()
    assert desk.follower.trouble == ""
    if desk.world.machine.name.removeprefix("emulated:")[:4] in ONLINE:
        assert kdamond(desk) == thread, "no kdamond had to be started again"


def test_one_more_ends_at_each_commit(desk):
    """As with a hundred ends a second: it repeats until none falls between look and commit."""
    machine = desk.world.machine
    alive = crowd(desk, 12)
    desk.put("w.yaml", WATCH)
    desk.rest()
    alive += crowd(desk, 3)
    commits = []

    def ends(_, path, text):
        if path.endswith("/state") and text in ("commit", "on") and len(commits) < 6:
            commits.append(text)
            machine.exit_process(alive.pop(len(commits)))

    machine.before_write = ends
    follow(desk)
    machine.before_write = None

    assert len(commits) == 6
    assert desk.follower.commits == 1
    assert desk.keeper.rollbacks == 0
    assert watched(desk) == set(alive)


def test_with_nobody_left_everything_is_as_it_was(desk):
    machine = desk.world.machine
    (first,) = crowd(desk, 1)
    desk.put("w.yaml", WATCH)
    desk.rest()
    (second,) = crowd(desk, 1)

    def ends(_, path, text):
        if path.endswith("/state") and text in ("commit", "on"):
            machine.before_write = None
            machine.exit_process(first)
            machine.exit_process(second)

    machine.before_write = ends
    follow(desk)
    machine.before_write = None
    (third,) = crowd(desk, 1)
    for _ in range(3):
        follow(desk)

    assert watched(desk) == {third}
    assert not desk.world.places.journal.exists()


def test_a_refusal_by_which_nobody_has_ended_is_undone(desk):
    machine = desk.world.machine
    first, *_ = crowd(desk, 1)
    desk.put("w.yaml", WATCH)
    desk.rest()
    crowd(desk, 1)
    machine.sleep(1)
    desk.keeper.table.update()

    def refuses(_, path, text):
        if path.endswith("/state") and text in ("commit", "on"):
            machine.before_write = None
            raise OSError(errno.EINVAL, "Invalid argument")

    machine.before_write = refuses
    with pytest.raises(DamonPolicyError, match="everything is as it was"):
        desk.follower._transact("watch")

    assert watched(desk) == {first}


def test_apply_goes_on_without_who_has_ended():
    world = World.make("7.3")
    world.write(STAT_OFF, "N")
    machine = world.machine
    alive = [machine.start_process("worker", areas=[AREA]) for _ in range(3)]

    def ends(_, path, text):
        if text == "on":
            machine.before_write = None
            machine.exit_process(alive.pop(1))

    machine.before_write = ends
    managed = world.apply("w", text=WATCH)

    assert [pid for pid, _ in managed.slots[0].members] == alive
    assert not drift(retrieve(machine), managed)
    world.close()


@pytest.mark.unmeasured
@pytest.mark.parametrize("kernel", ["6.12", "6.18", "7.3"])
def test_killed_in_its_midst_it_is_undone_or_complete(kernel):
    """The journal says what was done instead; none of it counts as someone else's."""
    start = in_memory_directory()
    first = opened(kernel, start)
    if first.machine.exists(STAT_OFF):
        first.write(STAT_OFF, "N")
    for _ in range(4):
        first.machine.start_process("worker", areas=[AREA])
    first.apply("w", text=WATCH)
    pids = [int(each) for each in sorted(worker_pids(first.machine))]
    for _ in range(2):
        first.machine.start_process("worker", areas=[AREA])
    first.machine.exit_process(pids[0])

    def do(world):
        machine, ended = world.machine, iter(pids[1:3])

        def ends(_, path, text):
            if path.endswith("/state") and text in ("commit", "on"):
                for pid in ended:
                    machine.exit_process(pid)
                    break

        machine.before_write = ends
        world.apply("w", text=WATCH)

    at, killed, seen = 0, True, set()
    while killed:
        at += 7
        directory = copied(kernel, start)
        killed = in_child(lambda directory=directory: do(opened(kernel, directory)), at)
        world = opened(kernel, directory)
        world.recover()
        assert not world.places.journal.exists(), at
        members = {pid for pid, _ in world.managed.slots[0].members}
        assert world.machine.read(f"{KDAMONDS}/0/state") == "on\n", at
        runs = {int(each["pid"]) for each in world.machine._kdamonds.running("0")["targets"]}
        alive = worker_pids(world.machine)
        assert runs & alive == members & alive, at
        seen.add(len(members & alive))
        world.apply("w", text=WATCH)
        assert {pid for pid, _ in world.managed.slots[0].members} == worker_pids(world.machine), at
        assert not world.machine.poisoned
        world.close()
    first.close()

    assert len(seen) > 1, "kills fell on both sides of the commit point"


def worker_pids(machine):
    return {int(each.name) for each in machine.scan("/proc") if each.name.isdecimal()
            and machine.read(f"/proc/{each.name}/comm") == "worker\n"}  # fmt: skip
