"""A process killed at any boundary leaves a machine that `recover` completes.

The child is a real process that ends by SIGKILL right before one of its system calls that
change a file: the journal, the state, the generations, or the emulated kernel. The parent
recovers, and finds the machine before or after the transaction, never between.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from tests.world import CHANGED, World, in_memory_directory

pytestmark = pytest.mark.unmeasured  # what is killed has covered nothing, and only gets slow

CALLS = ("write", "pwrite", "replace", "rename", "unlink", "fsync", "ftruncate", "mkdir")


def in_child(do, at):
    """Run something in a child; kill it right before its `at`-th call. True if it was killed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            arm(at)
            do()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


def arm(at):
    calls = 0

    def wrap(function):
        def wrapped(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return wrapped

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))


def opened(kernel, directory):
    machine = EmulatedMachine.create(kernel, store=directory / "machine")
    return World(machine, directory)


def copied(kernel, before):
    """A directory of its own with the files of another, so that each kill starts alike.

    The child opens it by itself: an open lock would outlive the child in its parent.
    """
    directory = in_memory_directory()
    shutil.copytree(before, directory, dirs_exist_ok=True)
    return directory


MODULE = """
version: 1
name: p
modules:
  damon_stat: {enabled: false}
  damon_reclaim: {enabled: true, min_age: 5m, wmarks_interval: 10ms}
"""

SCENARIOS = {
    "first apply": (lambda world: None, lambda world: world.apply("ksm")),
    "change": (
        lambda world: world.apply("ksm"),
        lambda world: world.apply("ksm", CHANGED["ksm"]),
    ),
    "removal": (lambda world: world.apply("ksm"), lambda world: world.remove("ksm")),
    "module": (lambda world: None, lambda world: world.apply("p", text=MODULE)),
    "module that runs": (
        lambda world: world.apply("p", text=MODULE),
        lambda world: world.apply("p", text=MODULE.replace("5m", "6m")),
    ),
    "module that goes": (
        lambda world: world.apply("p", text=MODULE),
        lambda world: world.remove("p"),
    ),
}


@pytest.mark.parametrize("kernel", ["6.12", "7.3"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_kill_at_every_boundary(kernel, scenario):
    prepare, do = SCENARIOS[scenario]
    start = in_memory_directory()
    first = opened(kernel, start)
    prepare(first)
    before, generation = first.look(), first.managed.generation
    twin = opened(kernel, copied(kernel, start))
    do(twin)
    after = twin.look()
    twin.close()
    seen = set()
    at = 0
    while True:
        at += 1
        directory = copied(kernel, start)
        killed = in_child(lambda directory=directory: do(opened(kernel, directory)), at)
        world = opened(kernel, directory)
        world.recover()
        now = world.look()
        assert now in (before, after), f"killed at call {at}"
        committed = world.managed.generation != generation
        assert now == (after if committed else before), f"killed at call {at}"
        assert not world.places.journal.exists()
        seen.add(committed)
        if not committed:
            do(world)
            assert after == world.look(), f"killed at call {at}, then done again"
        assert not world.machine.poisoned
        world.close()
        if not killed:
            break
    first.close()

    assert {False, True} == seen, "kills fell on both sides of the commit point"
    assert at > 10


def test_tuning_goes_on_between_a_crash_and_its_recovery(monkeypatch):
    """The intervals that the kernel has tuned meanwhile are not set back by the undo."""
    clock = [1000.0]
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda machine: clock[0])
    monkeypatch.setattr(
        EmulatedMachine, "sleep", lambda machine, seconds: clock.append(clock.pop() + seconds)
    )
    from tests.faults.test_tuned_intervals import POLICY, asked, tuned

    start = in_memory_directory()
    first = opened("7.3", start)
    first.apply("memory-tiering", text=POLICY)
    tuned(first)
    reached = False
    for at in range(1, 400):
        directory = copied("7.3", start)

        def change(directory=directory):
            opened("7.3", directory).apply("memory-tiering", {"rate": "100MiB"}, POLICY)

        if not in_child(change, at):
            shutil.rmtree(directory)
            break
        world = opened("7.3", directory)
        if world.places.journal.exists() and b"intent" in world.places.journal.read_bytes():
            value = asked(world)
            world.write("0/contexts/0/monitoring_attrs/intervals/sample_us", "5000")
            world.recover()
            assert asked(world) >= value, f"killed at call {at}"
            reached = True
        world.close()
    first.close()

    assert reached
