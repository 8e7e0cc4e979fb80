"""Processes, cgroups and memory that come and go, and the kdamonds that follow them."""

from __future__ import annotations

import errno
import random
from dataclasses import asdict

import pytest

from damonpolicy.cli.commands.status import _served
from damonpolicy.daemon.jobs.follow import Follower, FollowJob
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.host import seconds, starts
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.kernel.system.processes import Selector, Table
from tests.daemon.conftest import Desk
from tests.daemon.followed import AREA, KERNELS, WATCH, follow, following, kdamond, watched
from tests.world import STAT_OFF, World, in_memory_directory


@pytest.fixture(params=KERNELS)
def desk(request, tmp_path):
    yield from following(request.param, tmp_path / "policies")


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
    assert kdamond(desk) == thread or desk.keeper.capabilities.known("commit") != "yes"
    machine.exit_process(second)
    assert follow(desk)

    assert watched(desk) == {first, third}
    assert desk.world.managed.generation == generation, "who comes and goes is no new generation"
    assert not follow(desk), "nothing is left to do"


@pytest.mark.parametrize(
    "selector", ["{unit: 'job-*.scope'}", "{cgroup: '/batch.slice/job-*.scope'}"]
)
def test_who_comes_in_a_cgroup_that_matches_is_joined(desk, selector):
    machine = desk.world.machine
    machine.make_cgroup("/batch.slice/job-1.scope")
    first = machine.start_process("a", areas=[AREA], cgroup="/batch.slice/job-1.scope")
    desk.put("w.yaml", WATCH.replace("{name: worker}", selector))
    desk.rest()
    assert watched(desk) == {first}
    machine.make_cgroup("/batch.slice/job-2.scope")
    second = machine.start_process("b", areas=[AREA], cgroup="/batch.slice/job-2.scope")
    machine.start_process("c", areas=[AREA], cgroup="/batch.slice")
    assert follow(desk)

    assert watched(desk) == {first, second}


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
    job = FollowJob(Follower(desk.keeper), poll=0.25)
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


def test_a_policy_that_fails_keeps_no_other_from_being_followed(desk):
    machine = desk.world.machine
    first = machine.start_process("worker", areas=[AREA])
    machine.start_process("helper", areas=[AREA])
    other = WATCH.replace("name: watch", "name: a-first").replace("worker}", "helper}")
    desk.put("a.yaml", other)
    desk.put("w.yaml", WATCH)
    desk.rest()
    slots = {name: desk.world.managed.slot_of(f"{name}/workers") for name in ("a-first", "watch")}

    def refuses(_, path, text):
        if path == f"{KDAMONDS}/{slots['a-first']}/contexts/0/targets/1/pid_target":
            raise OSError(errno.ENOMEM, "no memory")

    joined = {machine.start_process(name, areas=[AREA]) for name in ("worker", "helper")}
    before = desk.keeper.rollbacks
    machine.before_write = refuses
    follow(desk)
    assert watched(desk, slots["watch"]) - joined == {first}
    assert len(watched(desk, slots["watch"])) == 2
    assert list(desk.follower.troubles) == ["a-first"]
    assert desk.follower.trouble.startswith("`a-first`: ")
    assert desk.keeper.rollbacks > before

    machine.before_write = None
    assert follow(desk)
    assert len(watched(desk, slots["a-first"])) == 2
    assert desk.follower.trouble == ""


def test_what_could_not_be_followed_and_is_gone_is_no_trouble(desk):
    machine = desk.world.machine
    machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()

    def refuses(_, path, text):
        if path.endswith("/targets/1/pid_target"):
            raise OSError(errno.ENOMEM, "no memory")

    second = machine.start_process("worker", areas=[AREA])
    machine.before_write = refuses
    follow(desk)
    assert desk.follower.trouble
    machine.before_write = None
    machine.exit_process(second)
    follow(desk)

    assert desk.follower.trouble == ""


def test_nothing_is_looked_for_again_until_something_is_another(desk, monkeypatch):
    """Where /proc has to be read each second, that is all that is done."""
    machine = desk.world.machine
    machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()
    job, looks = FollowJob(Follower(desk.keeper)), []
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


RAM = """
version: 1
name: ram
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes: [{name: seen, action: stat}]
"""


def test_memory_that_is_plugged_in_is_taken_in(desk):
    machine, base = desk.world.machine, f"{KDAMONDS}/0/contexts/0/targets/0/regions"
    desk.put("m.yaml", RAM)
    desk.rest()
    thread, before = kdamond(desk), int(desk.read(f"{base}/nr_regions"))
    read, more = machine.read, "4000000000-40ffffffff : System RAM\n"
    job = FollowJob(desk.follower)
    job.run()
    machine.read = lambda path: read(path) + (more if path == "/proc/iomem" else "")
    ends = machine.monotonic() + 5
    machine.sleep(5)
    assert job.due <= ends
    job.run()

    assert int(desk.read(f"{base}/nr_regions")) == before + 1
    assert desk.read(f"{base}/{before}/start") == str(0x40_0000_0000)
    regions = machine._kdamonds.running("0")["targets"][0]["regions"]
    assert (0x40_0000_0000, 0x41_0000_0000) in [tuple(each) for each in regions]
    assert kdamond(desk) == thread or desk.keeper.capabilities.known("commit") != "yes"
    assert not follow(desk)
    machine.read = read
    assert follow(desk), "and taken out again"
    assert desk.read(f"{base}/nr_regions") == str(before)


def test_who_has_only_just_started_is_joined_a_moment_later(desk, monkeypatch):
    """Many end at once; those who are monitored stay, and the wait is no longer than that moment."""
    machine, follower = desk.world.machine, desk.follower
    first = machine.start_process("worker", areas=[AREA])
    # as on a real machine, where start times are on the same clock
    ahead, real = machine.monotonic() - seconds(starts(machine, first)), EmulatedMachine.monotonic
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda machine: real(machine) - ahead)
    desk.put("w.yaml", WATCH)
    desk.rest()
    machine.sleep(1)
    second = machine.start_process("worker", areas=[AREA])
    follower.keeper.table.update()
    assert not follower.look(everything=True)
    assert watched(desk) == {first}
    (told,) = follower.waiting()
    assert asdict(told) == {"kdamond": "watch/workers", "pids": (second,), "more": 0,
                              "why": "it has only just started"}  # fmt: skip
    assert 0 < follower.held - machine.monotonic() <= 0.2
    machine.sleep(follower.held - machine.monotonic())
    assert follower.look(everything=False)

    assert watched(desk) == {first, second}
    assert follower.waiting() == []


def test_who_is_from_the_future_has_another_clock_and_is_joined(desk, monkeypatch):
    """As on an emulated machine that is older than the boot of the one it is emulated on."""
    machine = desk.world.machine
    machine.sleep(1000)
    second = machine.start_process("worker", areas=[AREA])
    now = machine.monotonic()
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda machine: now - 500)
    desk.put("w.yaml", WATCH)
    desk.reloader.look()
    desk.follower.keeper.table.update()
    desk.follower.look(everything=True)

    assert watched(desk) == {second}


def test_status_says_who_is_not_followed_and_why(desk):
    machine, follower = desk.world.machine, desk.follower
    machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()

    def refuses(_, path, text):
        if path.endswith("/targets/1/pid_target"):
            raise OSError(errno.ENOMEM, "no memory")

    others = [machine.start_process("worker", areas=[AREA]) for _ in range(7)]
    machine.before_write = refuses
    follow(desk)
    machine.before_write = None
    (told,) = follower.waiting()
    assert (list(told.pids), told.more) == (others[:5], 2)
    assert "no memory" in told.why
    lines = "\n".join(_served({
        "paths": ["p"], "pid": 1, "running": True, "reload": None, "following": "",
        "not_followed": [asdict(told)], "feeds": {}, "loops": {}, "observing": "",
        "jobs": {"tune": {"failures": 2, "trouble": "it broke"}, "feed": {"failures": 1,
                 "trouble": ""}},
        "drift": {"first": [], "files": 0, "repairs": 0, "cannot_repair": ""},
    }, desk.keeper.managed()))  # fmt: skip
    assert f"  not yet followed: watch/workers: pid {others[0]}, " in lines
    assert " and 2 more: " in lines
    assert "  the job `tune` fails, and is tried again (2 failures): it broke" in lines
    assert "`feed`" not in lines, "it goes well again"

    assert follow(desk)
    assert follower.waiting() == []
