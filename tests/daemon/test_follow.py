"""Processes, cgroups and memory that come and go, and the kdamonds that follow them."""

from __future__ import annotations

import random

import pytest

from damonpolicy.daemon.follow import Follower, FollowJob
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.processes import Selector, Table
from damonpolicy.kernel.sysfs import KDAMONDS
from tests.daemon.conftest import Desk
from tests.world import STAT_OFF, World, in_memory_directory

WATCH = """
version: 1
name: watch
kdamonds:
  - name: workers
    ops: vaddr
    targets: [{process: {name: worker}}]
    schemes: [{name: seen, action: stat}]
"""
AREA = {"size": "4MiB"}
KERNELS = ("6.6", "6.12", "6.18", "6.19", "7.3")


@pytest.fixture(params=KERNELS)
def desk(request, tmp_path):
    world = World.make(request.param)
    if world.machine.exists("/sys/module/damon_stat/parameters/enabled"):
        world.write("/sys/module/damon_stat/parameters/enabled", "N")
    made = Desk(world, tmp_path / "policies")
    made.follower = Follower(made.reloader, made.keeper, Table(world.machine))
    yield made
    assert not world.machine.poisoned
    world.close()


def follow(desk):
    desk.world.machine.sleep(1)
    desk.follower.table.update()
    return desk.follower.look(everything=True)


def watched(desk, slot=0):
    """The processes that the running kdamond really monitors."""
    running = desk.world.machine._kdamonds.running(str(slot))
    return {int(each["pid"]) for each in running["targets"]} if running else set()


def kdamond(desk, slot=0):
    return desk.read(f"{KDAMONDS}/{slot}/pid")


def test_who_comes_is_joined_and_who_goes_leaves(desk):
    machine = desk.world.machine
    first = machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()
    generation, thread = desk.world.managed.generation, kdamond(desk)
    second, third = (machine.start_process("worker", areas=[AREA]) for _ in range(2))
    machine.start_process("another", areas=[AREA])
    assert follow(desk)
    assert watched(desk) == {first, second, third}
    assert kdamond(desk) == thread or desk.reloader.capabilities.known("commit") != "yes"
    machine.exit_process(second)
    assert follow(desk)

    assert watched(desk) == {first, third}
    assert desk.world.managed.generation == generation, "who comes and goes is no new generation"
    assert not follow(desk), "nothing is left to do"


def test_who_left_first_is_replaced(desk):
    machine = desk.world.machine
    first = machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()
    machine.exit_process(first)
    second = machine.start_process("worker", areas=[AREA])
    assert follow(desk)

    assert watched(desk) == {second}


def test_without_anybody_it_waits_and_starts_again(desk):
    machine = desk.world.machine
    desk.put("w.yaml", WATCH)
    assert desk.rest().kind == "applied"
    assert watched(desk) == set()
    first = machine.start_process("worker", areas=[AREA])
    assert follow(desk)
    assert watched(desk) == {first}
    machine.exit_process(first)
    machine.sleep(5)
    follow(desk)
    assert watched(desk) == set()
    assert not follow(desk)
    second = machine.start_process("worker", areas=[AREA])
    assert follow(desk)

    assert watched(desk) == {second}


def test_a_pid_that_another_process_got_is_another_process(desk):
    machine = desk.world.machine
    first = machine.start_process("worker", areas=[AREA])
    other = machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()
    machine.exit_process(first)
    machine.sleep(1)
    machine.start_process("stranger", pid=first, areas=[AREA])
    machine.sleep(20)
    follow(desk)

    assert watched(desk) == {other}


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


def test_many_at_once_share_one_commit(desk):
    machine = desk.world.machine
    first = machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()
    others = {machine.start_process("worker", areas=[AREA]) for _ in range(40)}
    follow(desk)

    assert watched(desk) == {first, *others}
    assert desk.follower.commits == 1


@pytest.mark.unmeasured
@pytest.mark.parametrize("kernel", ["6.12", "7.3"])
def test_a_thousand_of_which_a_hundred_come_and_go_each_second(kernel, tmp_path):
    """Commits are as seldom as the policy says, and each one has everything until then."""
    spec = {"nodes": [{"cpus": "0-3", "memory": "16GiB"}]}
    world = World(EmulatedMachine.create(kernel, spec=spec), in_memory_directory())
    if world.machine.exists(STAT_OFF):
        world.write(STAT_OFF, "N")
    machine, chance, desk = world.machine, random.Random(5), Desk(world, tmp_path / "policies")
    alive = [machine.start_process("worker", areas=[AREA]) for _ in range(1_000)]
    desk.put("w.yaml", WATCH.replace("ops: vaddr", "ops: vaddr\n    commit_every: 2s"))
    desk.rest()
    thread = kdamond(desk)
    job = FollowJob(Follower(desk.reloader, desk.keeper, Table(machine)), poll=0.25)
    began = machine.monotonic()
    for _ in range(24):
        for _ in range(12):
            machine.exit_process(alive.pop(chance.randrange(len(alive))))
            alive.append(machine.start_process("worker", areas=[AREA]))
        before = job.follower.commits
        if job.due <= machine.monotonic():
            job.run()
        if job.follower.commits > before:
            assert watched(desk) == set(alive)
        machine.sleep(0.25)
    seconds = machine.monotonic() - began
    assert 2 <= job.follower.commits <= seconds / 2 + 1
    machine.sleep(2)
    job.run()

    assert watched(desk) == set(alive)
    assert kdamond(desk) == thread
    assert not machine.poisoned
    world.close()


def test_nothing_is_looked_for_again_until_something_is_another(desk, monkeypatch):
    """Where /proc has to be read each second, that is all that is done."""
    machine = desk.world.machine
    machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()
    job, looks = FollowJob(Follower(desk.reloader, desk.keeper, Table(machine))), []
    real = Follower.look

    def look(follower, *, everything):
        looks.append(everything)
        return real(follower, everything=everything)

    monkeypatch.setattr(Follower, "look", look)

    def seconds(number):
        looks.clear()
        for _ in range(number):
            job.run()
            machine.sleep(max(job.due - machine.monotonic(), 0))
        return looks

    seconds(8)
    assert len(seconds(20)) == 4, "cgroups and memory, each five seconds"
    assert all(looks)
    new = machine.start_process("worker", areas=[AREA])
    assert 5 > len(seconds(4)) > 1
    assert new in watched(desk)
    machine.exit_process(new)
    seconds(4)
    assert new not in watched(desk)
    seconds(5)
    desk.put("w.yaml", WATCH.replace("name: watch", "name: other"))
    desk.rest()
    assert False in seconds(4), "other policies, too"


def test_policies_of_others_are_left_alone(desk):
    machine = desk.world.machine
    first = machine.start_process("worker", areas=[AREA])
    desk.world.apply("watch", text=WATCH)
    machine.start_process("worker", areas=[AREA])

    assert not follow(desk)
    assert watched(desk) == {first}


MEMCG = """
version: 1
name: cold
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: s
        action: pageout
        quota: {size: 1MiB, every: 1s}
        filters: [{reject: {memcg: /machine.slice}}]
"""


def test_cgroups_that_are_made_and_removed(desk):
    """A path means the subtree: each of its cgroups is a filter of its own."""
    machine = desk.world.machine
    machine.make_cgroup("/machine.slice/new.scope")
    machine.remove_cgroup("/machine.slice/new.scope")
    desk.put("c.yaml", MEMCG)
    desk.rest()

    def named():
        files = machine.snapshot_all()
        return {each.strip() for path, each in files.items()
                if path.endswith("memcg_path") and each.strip()}  # fmt: skip

    before = named()
    machine.make_cgroup("/machine.slice/new.scope")
    assert follow(desk)
    assert named() - before == {"/machine.slice/new.scope"}
    machine.remove_cgroup("/machine.slice/new.scope")
    assert follow(desk)
    assert named() == before


def test_the_table_looks_at_what_has_changed_only(desk):
    machine = desk.world.machine
    table = Table(machine)
    table.update()
    new = machine.start_process("worker", areas=[AREA])
    reads = []
    real = machine.read
    machine.read = lambda path: reads.append(path) or real(path)
    table.update({new})
    assert {path.split("/")[2] for path in reads} == {str(new)}
    assert [each.pid for each in table.find(machine, Selector(name="worker"))] == [new]
    machine.exit_process(new)
    table.update({new})

    assert table.find(machine, Selector(name="worker")) == []
