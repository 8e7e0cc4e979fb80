"""An error at any operation of a change that takes two commits leaves the machine as it was."""

from __future__ import annotations

import errno
import itertools

import pytest

from damonpolicy.base.errors import DamonPolicyError
from tests.plan.test_positions import text
from tests.plan.test_uncommitted import eligible, often
from tests.plan.test_uncommitted import text as tuned
from tests.world import World, fail_at

CHANGES = {
    "schemes move": ("7.3", text("fast", "slow", "last"), text("fast", "mid", "slow", "last")),
    "applied more often": ("7.3", often("1h"), often("1s")),
    "ignored by a commit": ("7.2", tuned(eligible(0)), tuned(eligible(1))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_error_at_every_operation(change):
    kernel, first, second = CHANGES[change]
    world = World.make(kernel)
    world.apply("p", text=first)
    before = world.look()
    for number in itertools.count(1):
        seen = fail_at(world.machine, number, errno.EIO)
        try:
            world.apply("p", text=second)
        except DamonPolicyError:
            fail_at(world.machine, 0)
            assert world.look() == before, f"operation {number}"
        else:
            assert seen["writes"] < number
            break
    assert number > 3
    world.close()
