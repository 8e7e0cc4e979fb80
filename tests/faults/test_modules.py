"""An error at any operation on DAMON's modules leaves them as they were, and running as they ran."""

from __future__ import annotations

import errno
import itertools
from functools import partial

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.kernel.damon.modules import parameter_path
from tests.engine.test_modules import KDAMONDS, KERNELS, by_hand, policy, read, running
from tests.engine.test_modules import switched_on_by_hand as on_by_hand
from tests.faults.faulty import Fault, FaultyMachine
from tests.faults.verdict import attempt
from tests.world import World, fail_at

SWITCH = f"read {parameter_path('damon_reclaim', 'enabled')}"

FIRST = running(min_age="5m", quota_sz="64MiB")
SECOND = running(min_age="6m", quota_ms="20ms")


def given(world):
    world.apply("p", text=running(monitor_region_start="1GiB", monitor_region_end="2GiB"))


SCENARIOS = {
    "first": (lambda world: None, lambda world: world.apply("p", text=FIRST)),
    "change": (
        lambda world: world.apply("p", text=FIRST),
        lambda world: world.apply("p", text=SECOND),
    ),
    "region": (given, lambda world: world.apply("p", text=running(min_age="5m"))),
    "removal": (lambda world: world.apply("p", text=FIRST), lambda world: world.remove("p")),
    "someone else's": (on_by_hand, lambda world: world.apply("p", text=policy(min_age="5m"))),
    "someone else's again": (
        lambda world: (on_by_hand(world), world.apply("p", text=policy(min_age="5m"))),
        lambda world: world.remove("p"),
    ),
    "off": (
        on_by_hand,
        lambda world: world.apply("p", text=policy(enabled="false", min_age="5m")),
    ),
    "then a kdamond": (
        lambda world: world.apply("p", text=FIRST),
        lambda world: world.apply("p", text=KDAMONDS.replace("name: kdamonds", "name: p")),
    ),
    "after a kdamond": (
        lambda world: world.apply("p", text=KDAMONDS.replace("name: kdamonds", "name: p")),
        lambda world: world.apply("p", text=FIRST),
    ),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_error_at_every_operation(kernel, scenario):
    prepare, do = SCENARIOS[scenario]
    world = World.make(kernel)
    prepare(world)
    before, on = world.look(), read(world, "kdamond_pid")
    for number in itertools.count(1):
        seen = fail_at(world.machine, number)
        try:
            do(world)
        except DamonPolicyError as error:
            assert error.exit_code == ExitCode.ROLLED_BACK, error
            assert "as it was" in error.message, error
        world.machine.before_write = None

        if seen["writes"] < number:
            break
        assert before == world.look(), f"error at write {number}"
        assert (read(world, "kdamond_pid") == "-1") is (on == "-1")
        assert not world.places.journal.exists()
        if read(world, "enabled") == "Y" and world.machine.exists(
            parameter_path("damon_reclaim", "commit_inputs")
        ):
            assert read(world, "commit_inputs") == "N"
    world.close()

    assert number > 2, "the loop has seen every operation"
    assert not world.machine.poisoned


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EIO], ids=errno.errorcode.get)
def test_a_module_that_cannot_be_looked_at_is_not_taken_for_one_that_is_off(kernel, code):
    """A removal would leave it running, and say that it is done."""
    prepare, _ = SCENARIOS["removal"]
    for number in itertools.count():
        world = World.make(kernel)
        prepare(world)
        before, machine = world.look(), FaultyMachine(world.machine)
        seen = World(machine, world.directory)
        seen.remove("p")
        after, reads = (
            world.look(),
            [n for n, call in enumerate(machine.calls, 1) if call == SWITCH],
        )
        world.close()
        if number == len(reads):
            break
        world = World.make(kernel)
        prepare(world)
        machine = FaultyMachine(world.machine, [Fault(reads[number], "error", code)])
        error = attempt(partial(World(machine, world.directory).remove, "p"))

        assert world.look() == (before if error else after), f"{error} at read {number}"
        world.close()
    assert number > 1


def test_parameters_of_others_survive():
    """What someone wrote in between is left as it is, and the undo says so."""
    world = World.make("7.3")
    world.apply("p", text=FIRST)

    def hook(_, path, text):
        if path.endswith("commit_inputs"):
            world.machine.before_write = None
            by_hand(world, "min_age", "7000000")
            raise OSError(5, "no", path)

    world.machine.before_write = hook
    with pytest.raises(DamonPolicyError) as caught:
        world.apply("p", text=SECOND)

    assert caught.value.exit_code == ExitCode.ROLLBACK_INCOMPLETE
    assert read(world, "min_age") == "7000000"
    world.close()
