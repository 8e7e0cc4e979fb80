"""Processes that end during a change and its undo: the kernel ends up as without the change."""

from __future__ import annotations

import collections
import errno
import os

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.engine.store import Store
from damonpolicy.engine.transaction import _Transaction
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.followed import AREA, WATCH, follow, following, kdamond, watched
from tests.faults.scenarios import WORKERS
from tests.world import STAT_OFF, World

STAT = "{name: s, action: stat}"
AGED = "{name: s, action: %s, access_pattern: {age: {min: %d aggregations}}}"
QUOTA = "{name: one, action: cold, quota: {size: 1MiB, every: 1s%s}}"
TARGET = "{metric: user_input, target: %d}"
FED = QUOTA % f", goals: [{TARGET % 100}]"
VALUE = "contexts/0/schemes/0/quotas/goals/0/current_value"
KERNELS = ("6.6", "6.12", "6.18", "6.19", "7.3")
OLD = KERNELS[:3]
"""Those that take two commits where somebody goes: they cannot drop a target."""
GOALS = KERNELS[1:]
"""Those that have goals, and an interval for each scheme."""


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


@pytest.fixture(params=KERNELS)
def world(request):
    made = World.make(request.param)
    if made.machine.exists(STAT_OFF):
        made.write(STAT_OFF, "N")
    yield made
    assert not made.machine.poisoned
    made.close()


def workers(world, count):
    return [world.machine.start_process("worker", areas=[{"size": "1MiB"}]) for _ in range(count)]


def run(world, schemes, hook=None):
    """Apply under a hook before each write; return the error."""
    world.machine.before_write = hook
    try:
        world.apply("watch", text=WORKERS % schemes)
    except DamonPolicyError as error:
        return error
    finally:
        world.machine.before_write = None
    return None


def ends(world, pid, at, words=("commit",)):
    """Return a hook by which a process ends at the ``at``-th write of a word to a state file."""
    seen = [0]

    def hook(_, path, text):
        seen[0] += text in words
        if text in words and seen[0] == at:
            world.machine.exit_process(pid)

    return hook


def fails_then_ends(world, pid):
    """Return a hook by which a change fails behind its commit, and a process ends in its undo."""
    seen = [0]

    def hook(_, path, text):
        if text == "update_schemes_stats" and not seen[0]:
            seen[0] = 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        if seen[0] == 1:
            seen[0] = 2
            world.machine.exit_process(pid)

    return hook


def running(world):
    return world.machine._kdamonds.running("0")


def fed(world):
    """Return target and value of the goals that run, by scheme."""
    schemes = running(world)["tree"]["schemes"]
    return {
        number: [
            (goal["target_value"], goal["current_value"])
            for index, goal in sorted(scheme["quotas"]["goals"].items())
            if index.isdecimal()
        ]
        for number, scheme in schemes.items()
        if number.isdecimal()
    }


@pytest.mark.parametrize("world", OLD, indirect=True)
@pytest.mark.parametrize("who", [0, 2, 3])
def test_who_is_killed_behind_a_start_leaves_what_can_be_recovered(world, who, monkeypatch):
    """A start that follows a commit which ended the kdamond is known to be ours."""
    pids = workers(world, 3)
    assert run(world, STAT) is None
    world.machine.exit_process(pids[1])
    pids += workers(world, 1)
    dead = [False]

    def dies(_, path, text):
        if text == "on":
            dead[0] = True
            raise Killed

    def nothing(real):
        def call(*arguments):
            if dead[0]:
                raise Killed
            return real(*arguments)

        return call

    monkeypatch.setattr(_Transaction, "_back", nothing(_Transaction._back))
    monkeypatch.setattr(Store, "unstage", nothing(Store.unstage))
    world.machine.after_write = dies
    try:
        run(world, STAT, ends(world, pids[who], 2))
    except Killed:
        dead[0] = False
        world.machine.after_write = None
        world.recover()
    world.machine.after_write = None

    assert run(world, STAT) is None
    assert {int(each["pid"]) for each in running(world)["targets"]} == {
        pid for index, pid in enumerate(pids) if index not in (1, who)
    }


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_scheme_that_moves_takes_nothing_of_the_other(world, at):
    one, two = (
        STAT.replace("name: s", "name: one"),
        AGED.replace("name: s", "name: two") % ("stat", 2),
    )
    pids = workers(world, 3)
    assert run(world, f"{one}, {two}") is None
    world.machine.sleep(30)
    assert run(world, f"{two}, {one}", ends(world, pids[2], at)) is None

    assert [each["stats"]["nr_tried"] for each in running(world)["schemes"]] == [0, 0]


@pytest.mark.parametrize("world", GOALS, indirect=True)
@pytest.mark.parametrize(("at", "word"), [(0, ""), (1, "commit"), (2, "commit"), (1, "count")])
def test_a_goal_that_comes_is_fed_all_the_same(world, at, word):
    """Before 6.17 a goal that is new takes its value at the next commit only."""
    pids = workers(world, 3)
    assert run(world, QUOTA % "") is None
    seen = [0]

    def hook(_, path, text):
        here = text == word or (word == "count" and path.endswith("nr_goals"))
        seen[0] += here
        if here and seen[0] == at:
            world.machine.exit_process(pids[2])

    error = run(world, QUOTA % f", goals: [{TARGET % 100}]", hook)

    assert error is None
    assert fed(world)["0"] == [("100", "100")]


@pytest.mark.parametrize("world", GOALS, indirect=True)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_goals_that_are_made_again_keep_what_they_were_fed(world, at):
    pids = workers(world, 3)
    two = STAT.replace("name: s", "name: two")
    assert run(world, f"{FED}, {two}") is None
    assert fed(world)["0"] == [("100", "100")]
    assert run(world, f"{two}, {FED}", ends(world, pids[2], at)) is None

    assert fed(world)["1"] == [("100", "100")]


@pytest.mark.parametrize("world", GOALS, indirect=True)
def test_an_undo_that_makes_goals_again_keeps_what_they_were_fed(world):
    workers(world, 2)
    assert run(world, FED) is None
    before, seen = world.look(), [0]

    def fails(_, path, text):
        if text == "update_schemes_stats" and not seen[0]:
            seen[0] = 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    error = run(world, QUOTA % f", goals: [{TARGET % 100}, {TARGET % 200}]", fails)

    assert error.exit_code == ExitCode.ROLLED_BACK
    assert fed(world)["0"] == [("100", "100")]
    assert world.look() == before


@pytest.mark.parametrize("world", GOALS, indirect=True)
@pytest.mark.parametrize("fault", ["fails", "is lost"])
@pytest.mark.parametrize("change", ["online", "remove"])
def test_an_undo_writes_fed_values_until_they_are_there(world, fault, change, monkeypatch):
    """A goal that is fed 0 would cut its quota to one byte."""
    workers(world, 2)
    assert run(world, FED) is None
    before, steps, write = world.look(), [], world.machine.write

    def faulty(path, text):
        if not steps and (text == "update_schemes_stats" or path.endswith("nr_kdamonds")):
            steps.append("undo")
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        if steps == ["undo"] and path.endswith("current_value"):
            steps.append(fault)
            if fault == "fails":
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), path)
            return
        if text in ("on", "commit") and steps[1:] == [fault]:
            assert world.machine.read(f"{KDAMONDS}/0/{VALUE}").strip() == "100"
        write(path, text)

    monkeypatch.setattr(world.machine, "write", faulty)
    more = WORKERS % (QUOTA % f", goals: [{TARGET % 100}, {TARGET % 200}]")
    with pytest.raises(DamonPolicyError) as caught:
        world.remove("watch") if change == "remove" else world.apply("watch", text=more)

    assert steps == ["undo", fault]
    assert caught.value.exit_code == ExitCode.ROLLED_BACK
    assert world.look() == before


@pytest.mark.parametrize("world", GOALS, indirect=True)
def test_a_scheme_that_is_applied_sooner_does_not_wait_for_its_old_time(world):
    pids = workers(world, 3)
    scheme = "{name: s, action: stat, apply_every: %s}"
    waits = {}
    for at in (0, 1):
        assert run(world, scheme % "60m") is None
        world.machine.sleep(30)
        assert run(world, scheme % "1s", ends(world, pids[2], at)) is None
        now = world.machine.monotonic()
        waits[at] = [each["at"] - now for each in running(world)["schemes"]]

    assert all(abs(a - b) < 60 for a, b in zip(*waits.values(), strict=True)), waits


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_pid_of_one_that_was_monitored_takes_no_place(kernel, tmp_path, monkeypatch):
    """The kernel would give it the regions of the other, and the schemes act on them."""
    monkeypatch.setattr("damonpolicy.emulated.machine._BOOT", 0.0)
    for desk in following(kernel, tmp_path / "policies"):
        machine = desk.world.machine
        first, second = (machine.start_process("worker", areas=[AREA]) for _ in range(2))
        desk.put("w.yaml", WATCH.replace("stat", "cold"))
        desk.rest()
        thread = kdamond(desk)
        third = machine.start_process("worker", areas=[AREA])
        machine.sleep(1)
        machine.exit_process(second)
        machine.start_process("worker", pid=second, areas=[AREA])

        def hook(_, path, text, machine=machine, third=third):
            if path.endswith("nr_targets") and machine.exists(f"/proc/{third}"):
                machine.exit_process(third)

        machine.before_write = hook
        desk.keeper.table.update()
        desk.follower.look(everything=True)
        machine.before_write = None
        assert second not in watched(desk) or kdamond(desk) != thread
        follow(desk)
        assert watched(desk) == {first, second}


@pytest.mark.parametrize("who", [0, 1])
def test_an_undo_acts_on_nobody_where_one_that_ended_had_its_memory(world, who):
    pids = workers(world, 3)
    assert run(world, AGED % ("cold", 1)) is None
    thread = running(world)["pid"]
    error = run(world, AGED % ("cold", 2), fails_then_ends(world, pids[who]))

    assert error.exit_code == ExitCode.ROLLED_BACK
    assert running(world)["pid"] != thread
    left = {pid for pid in pids if pid != pids[who]}
    assert {int(each["pid"]) for each in running(world)["targets"]} == left


def test_a_kdamond_whose_own_processes_have_ended_does_not_go_on_after_an_undo(world):
    (first,) = workers(world, 1)
    assert run(world, AGED % ("stat", 1)) is None
    workers(world, 1)
    error = run(world, AGED % ("stat", 2), fails_then_ends(world, first))

    assert error.exit_code == ExitCode.ROLLED_BACK
    assert running(world) is None
    assert "all its processes have ended" in str(error)


def test_behind_the_last_commit_no_count_is_written_that_is_as_it_should_be(world):
    workers(world, 50)
    assert run(world, STAT) is None
    ending = workers(world, 2)[1]
    hook, written = ends(world, ending, 1), []

    def counted(number, path, text):
        written.append(text if path.endswith("/state") else path)
        hook(number, path, text)

    assert run(world, STAT, counted) is None

    last = max(index for index, each in enumerate(written) if each in ("commit", "on"))
    names = collections.Counter(each.rpartition("/")[2] for each in written[last + 1 :])
    assert names["nr_regions"] == 0
    assert KDAMONDS in written[0]
