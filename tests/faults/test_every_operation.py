"""An error at any single operation leaves the machine as it was, from every start."""

from __future__ import annotations

import errno
import itertools

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from tests.world import APPLIES, CHANGED, KERNELS, World, fail_at

CODES = (errno.EIO, errno.EINVAL, errno.ENOMEM, errno.ENOENT, errno.EPERM, errno.EINTR)
STARTS = ("empty", "another", "foreign-on", "foreign-off", "online")
REFUSED = {ExitCode.ROLLED_BACK, ExitCode.NO_PERMISSION, ExitCode.FAILED}


def prepare(world, start, name):
    """Bring the world to a start; returns the variables of the apply that follows."""
    if start == "another":
        world.apply("monitor" if name != "monitor" else "ksm")
    elif start.startswith("foreign"):
        world.foreign(on=start == "foreign-on")
    elif start == "online":
        if name == "monitor":
            world.machine.start_process("mysqld", areas=[{"size": "64MiB"}])
        world.apply(name)
        return CHANGED[name]
    return None


def count(world, do):
    """Return how many writes something takes, and end the world."""
    seen = fail_at(world.machine, 0)
    do()
    world.close()
    return seen["writes"]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        *((kernel, name) for kernel in KERNELS for name in APPLIES[kernel]),
        ("5.18", "monitor"),  # without commits
        ("damon-next", "ksm-survey"),  # accesses told apart
        ("damon-next-2025", "ksm-survey"),  # the same in its early form
    ],
)
def test_error_at_every_operation(kernel, name, start):
    codes = itertools.cycle(CODES)
    twin = World.make(kernel)
    variables = prepare(twin, start, name)
    total = count(twin, lambda: twin.apply(name, variables))
    world = World.make(kernel)
    prepare(world, start, name)
    before = world.look()
    for number in itertools.count(1):
        seen = fail_at(world.machine, number, next(codes))
        try:
            world.apply(name, variables)
        except DamonPolicyError as error:
            assert error.exit_code in REFUSED, error
            assert "as it was" in error.message, error
        world.machine.before_write = None

        if seen["writes"] < number:
            break
        assert before == world.look(), f"error at write {number}"
        assert not world.places.journal.exists()
    world.close()

    assert total + 1 == number, "the loop has seen every operation"
    assert not world.machine.poisoned


@pytest.mark.parametrize("kernel", KERNELS)
def test_error_at_every_operation_of_a_removal(kernel):
    twin, world = World.make(kernel), World.make(kernel)
    for each in (twin, world):
        each.apply("monitor")
        each.apply("ksm")
    total = count(twin, lambda: twin.remove("ksm"))
    before = world.look()
    for number in itertools.count(1):
        seen = fail_at(world.machine, number)
        try:
            world.remove("ksm")
        except DamonPolicyError as error:
            assert error.exit_code == ExitCode.ROLLED_BACK, error
        world.machine.before_write = None

        if seen["writes"] < number:
            break
        assert before == world.look(), f"error at write {number}"
        assert sorted(world.managed.policies) == ["ksm", "monitor"]
    assert total + 1 == number, "the loop has seen every operation"
    assert sorted(world.managed.policies) == ["monitor"]
    world.close()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("first", ["ksm", "monitor"])
def test_apply_and_remove_leave_nothing(kernel, first):
    world = World.make(kernel)
    before = world.look()

    world.apply(first)
    assert before != world.look()
    world.remove(first)

    assert before == world.look()
    world.close()
