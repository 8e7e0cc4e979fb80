"""Another program on the same machine: its writes before ours stay."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import partial

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode, Foreign
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.store import Store
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.faults.faulty import LOCKED, Fault, FaultyMachine
from tests.faults.verdict import attempt
from tests.policies import ACCESSES, SWAPPY
from tests.world import CHANGED, STAT_OFF, World, fail_at

SLOT = 7
HELD = (ExitCode.BUSY, ExitCode.ROLLED_BACK, ExitCode.FOREIGN)
"""What a lock of someone else leads to, by how far it came; by the last one at a start."""


class Visited(FaultyMachine):
    """Someone comes right before a call."""

    def __init__(self, machine, at, visit):
        super().__init__(machine)
        self.at, self.visit = at, visit

    def _next(self, call, path):
        if len(self.calls) + 1 == self.at:
            self.visit()
        return super()._next(call, path)


def configure(world, *, on):
    """Do as someone else's script would: make slots if there are none, then fill one of them."""
    with suppress(OSError):
        if world.machine.read(f"{KDAMONDS}/nr_kdamonds") == "0\n":
            world.write("nr_kdamonds", "8")
    for path, text in (
        ("contexts/nr_contexts", "1"),
        ("contexts/0/operations", "paddr"),
        ("contexts/0/monitoring_attrs/intervals/sample_us", "7000"),
        ("contexts/0/targets/nr_targets", "1"),
        ("contexts/0/targets/0/regions/nr_regions", "1"),
        ("contexts/0/targets/0/regions/0/start", "4294967296"),
        ("contexts/0/targets/0/regions/0/end", "4303355904"),
    ):
        world.write(f"{SLOT}/{path}", text)
    if on:
        world.write(f"{SLOT}/state", "on")


def theirs(world):
    """What is in their slot: its files and what runs there."""
    return {path: value for path, value in world.look().items() if path.startswith(f"{SLOT}/")}


@pytest.fixture
def world():
    made = World.make("7.3")
    made.write(STAT_OFF, "N")
    yield made
    made.close()


def begun(removal, beside=None):
    world = World.make("7.3")
    world.write(STAT_OFF, "N")
    if beside is not None:
        beside(world)
    if removal:
        world.apply("a", text=SWAPPY)
    return world


def step(world, machine, removal):
    held = World(machine, world.directory)
    return attempt(
        (lambda: held.remove("a")) if removal else (lambda: held.apply("a", text=SWAPPY))
    )


@pytest.mark.parametrize("removal", [False, True], ids=["apply", "remove"])
@pytest.mark.parametrize("on", [True, False], ids=["running", "configured"])
def test_a_kdamond_that_comes_meanwhile_is_neither_stopped_nor_wiped(on, removal):
    """H4: all slots are looked at again before the first write, and before each that wipes.

    Between the end of that look and the write to `nr_kdamonds` the kernel leaves a gap: four calls.
    """
    at, open_at = 0, []
    while True:
        at += 1
        world = begun(removal)
        before, seen = world.look(), {}

        def visit(world=world, seen=seen):
            with suppress(OSError):
                configure(world, on=on)
            seen.update(theirs(world))

        machine = Visited(world.machine, at, visit)
        error = step(world, machine, removal)
        if at > len(machine.calls):
            world.close()
            break
        if seen and theirs(world) != seen:
            open_at.append(machine.calls[at - 1])
        elif error is None:
            gone = world.managed.policies.keys() if removal else ()
            assert not gone
        elif error.exit_code == ExitCode.ROLLBACK_INCOMPLETE:
            # the number of slots is as we would have it, and theirs to use: until they go
            world.write(f"{SLOT}/state", "off")
            world.write(f"{SLOT}/contexts/nr_contexts", "0")
            world.recover()
            assert world.look() == before
        else:
            assert error.exit_code in (ExitCode.FOREIGN, ExitCode.ROLLED_BACK), (at, error)
            assert not world.places.journal.exists()
        assert not world.machine.poisoned
        world.close()

    last = (f"write {KDAMONDS}/nr_kdamonds", f"read {KDAMONDS}/{SLOT}/")
    assert len(open_at) <= 4, open_at
    assert all(call.startswith(last) for call in open_at), open_at


@pytest.mark.parametrize("what", ["a file", "a kdamond", "the number of slots"])
def test_nothing_is_written_where_a_slot_was_changed_since_the_plan(what):
    """H4: a file that the change does not write would be committed with it."""
    world = begun(removal=True)
    more = SWAPPY.replace("name: s,", "name: s, access_pattern: {age: {min: 2m}},")
    with changing(world.machine, world.places) as session:
        policies = world.compile("a", text=more)
        current, plan = prepare(world.machine, session.managed, policies, policies)
        if what == "a file":
            world.write("0/contexts/0/monitoring_attrs/intervals/sample_us", "7000")
        elif what == "a kdamond":
            world.write("0/state", "off")
            world.write("0/state", "on")
        else:
            world.write("0/state", "off")
            world.write("nr_kdamonds", "2")
        theirs, since = world.look(), len(world.machine.log)
        with pytest.raises(Foreign, match="meanwhile"):
            session.carry_out(current, plan, Terms("t"))

    assert world.look() == theirs
    assert len(world.machine.log) == since
    world.close()


def slow(world):
    """Someone else's kdamond that answers every 40 s, so that asking it may take 80 s."""
    configure(world, on=False)
    world.write(f"{SLOT}/contexts/0/monitoring_attrs/intervals/aggr_us", "40000000")
    world.write(f"{SLOT}/state", "on")


@pytest.mark.parametrize("removal", [False, True], ids=["apply", "remove"])
@pytest.mark.parametrize(("beside", "seconds"), [(None, LOCKED), (slow, 100)], ids=["20s", "100s"])
def test_who_holds_the_lock_for_long_leaves_nothing_half_changed(removal, beside, seconds):
    """H1: the undo waits as long as any kdamond may hold DAMON's lock, a foreign one too."""
    at = 0
    while True:
        at += 1
        world = begun(removal, beside)
        before = world.look()
        machine = FaultyMachine(world.machine, [Fault(at, "lock")], locked=seconds)
        error = step(world, machine, removal)
        if at > len(machine.calls):
            world.close()
            break
        world.machine.sleep(seconds)
        if error is not None:
            assert error.exit_code in HELD, (at, error)
            assert world.look() == before, (at, error)
            assert not world.places.journal.exists(), (at, error)
        world.close()


def test_an_undo_that_never_gets_the_lock_names_its_journal(world):
    before = world.look()

    class Held(FaultyMachine):
        def _next(self, call, path):
            fault = super()._next(call, path)
            if path.startswith(KDAMONDS) and any("nr_contexts" in each for each in self.calls):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            return fault

    error = step(world, Held(world.machine), removal=False)

    assert error.exit_code == ExitCode.ROLLBACK_INCOMPLETE
    assert str(world.places.journal) in error.hint
    world.recover()
    assert world.look() == before


def test_a_kdamond_that_ended_meanwhile_is_not_said_to_run():
    """H5: what the change leaves as it is, is looked at, too."""
    world = World.make("7.3")
    world.write(STAT_OFF, "N")
    pid = world.machine.start_process("worker", areas=[{"size": "4MiB"}])
    text = SWAPPY.replace("paddr", "vaddr").replace(
        "{numa_node: 1}", f"{{process: {{pid: {pid}}}}}"
    )
    world.apply("a", text=text)
    before = {p: v for p, v in world.look().items() if not p.startswith("0/")}

    def end(_, path, written):
        world.machine.before_write = None
        world.machine.exit_process(pid)

    world.machine.before_write = end
    with pytest.raises(DamonPolicyError, match="has ended") as caught:
        world.apply("a", text=text.replace("70", "60"))

    assert caught.value.exit_code == ExitCode.ROLLED_BACK
    assert {p: v for p, v in world.look().items() if not p.startswith("0/")} == before
    world.close()


def test_a_number_of_slots_that_does_not_change_is_noticed():
    """H5: a write without effect is no success."""
    world = begun(removal=True)
    before = world.look()

    class Ignoring(FaultyMachine):
        def write(self, path, text):
            if path == f"{KDAMONDS}/nr_kdamonds":
                return
            super().write(path, text)

    error = step(world, Ignoring(world.machine), removal=True)

    assert error is not None
    assert error.exit_code == ExitCode.ROLLED_BACK
    assert world.look() == before
    world.close()


@pytest.mark.parametrize("again", [False, True])
def test_what_an_undo_starts_is_known_to_whoever_comes_next(monkeypatch, again):
    """H2: `remove` stops the kdamond and fails, its undo starts it, and the state cannot be saved."""

    def full(self, managed):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world = begun(removal=True)
    before = world.look()
    world.machine.before_write = lambda _, path, text: _fail_once(world, path, text)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "save", full)
        assert attempt(lambda: world.remove("a")).exit_code == ExitCode.ROLLBACK_INCOMPLETE
        if again:
            assert attempt(world.recover).exit_code == ExitCode.ROLLBACK_INCOMPLETE
    assert world.places.journal.exists()
    world.recover()

    assert world.look() == before
    assert not world.places.journal.exists()
    world.remove("a")
    world.close()


def _fail_once(world, path, text):
    if path.endswith("/nr_kdamonds"):
        world.machine.before_write = None
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), path)


def test_nothing_is_started_that_does_not_read_back():
    """H3: `pageout` with an age of 0 is not what ran before."""
    world = World.make("7.3")
    world.apply("proactive-reclaim")
    before = world.look()
    failures = {"nr_kdamonds": 1, "access_pattern/age/min": 99}

    def fail(_, path, text):
        for name, left in failures.items():
            if path.endswith(name) and left:
                failures[name] -= 1
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), path)

    world.machine.before_write = fail
    with pytest.raises(DamonPolicyError) as caught:
        world.remove("proactive-reclaim")
    world.machine.before_write = None

    assert caught.value.exit_code == ExitCode.ROLLBACK_INCOMPLETE
    assert world.machine.running(0) is None, "half of a scheme must not act"
    world.recover()
    assert world.look() == before
    world.close()


FORMS = ("{kind: write}", "{cpus: 0}", "{threads: [1]}", "{kind: read, cpus: 0}")


def next_one(accesses):
    """A machine that tells accesses apart, with a policy on it."""
    world = World.make("damon-next")
    world.write(STAT_OFF, "N")
    world.apply("a", text=ACCESSES.format(accesses=accesses))
    return world


@pytest.mark.parametrize("new", FORMS)
@pytest.mark.parametrize("old", FORMS)
def test_an_undo_changes_the_type_of_a_filter_in_two_commits(old, new):
    """J2: a commit copies everything of a sample filter but its type (and may wreck the kernel)."""
    if old == new:
        return
    at = 0
    while True:
        at += 1
        world = next_one(old)
        before = world.look()
        seen = fail_at(world.machine, at)
        error = attempt(partial(world.apply, "a", text=ACCESSES.format(accesses=new)))
        world.machine.before_write = None
        assert not world.machine.poisoned, at
        if seen["writes"] < at:
            assert error is None
            world.close()
            break
        assert world.look() == before, (at, error)
        world.close()
    assert at > 5


def test_a_type_that_was_staged_by_someone_is_not_what_runs():
    """J5: what was committed decides, and not what the files show."""
    world, fresh = next_one("{kind: write}"), next_one("{cpus: 0}")
    base = "0/contexts/0/monitoring_attrs/sample/filters"
    for number in (0, 1):
        world.write(f"{base}/{number}/type", "cpumask")
        world.write(f"{base}/{number}/cpumask", "0")
    world.apply("a", text=ACCESSES.format(accesses="{cpus: 0}"))

    assert world.look()["0/runs"] == fresh.look()["0/runs"]
    assert not world.machine.poisoned
    world.close()
    fresh.close()


def test_an_undo_commits_what_ran_and_leaves_what_was_staged():
    """What someone has staged and never committed is put back as it was: staged."""
    world = World.make("7.3")
    world.apply("monitor")
    world.machine.start_process("mysqld", areas=[{"size": "64MiB"}])
    world.write("0/contexts/0/monitoring_attrs/nr_regions/max", "777")
    before = world.look()
    assert before["0/runs"]["contexts/0/monitoring_attrs/nr_regions/max"] != "777"

    def fail(_, path, text):
        if text == "update_schemes_stats":
            world.machine.before_write = None
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    world.machine.before_write = fail
    with pytest.raises(DamonPolicyError):
        world.apply("monitor", CHANGED["monitor"])

    assert world.look() == before
    world.close()
