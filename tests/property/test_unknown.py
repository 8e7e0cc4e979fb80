"""Where features are unknown, too, the same policy gives the same files, whatever ran before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.kernel.damon.tree import configuration, slot_tree, snapshot
from tests.property.strategies import newest
from tests.property.test_policies import by_name, law
from tests.world import Blind, World

pytestmark = pytest.mark.unmeasured  # thousands of operations get slow by it
KERNELS = ("6.12", "6.18", "7.2", "7.3", "damon-next")


@pytest.mark.parametrize("frozen", [False, True], ids=["looked at again", "known once"])
@pytest.mark.parametrize("kernel", KERNELS)
@law(40)
@given(data=st.data())
def test_a_policy_ends_as_on_a_fresh_machine_whatever_ran_before(kernel, frozen, data):
    """Without BTF; ``frozen``: what was unknown at the start still is at the second apply."""
    first, last = data.draw(newest(kernel)), data.draw(newest(kernel))
    straight, around = (World.make(kernel, Blind) for _ in range(2))
    straight.try_(last)
    known = around.try_(first)
    around.try_(last, known if frozen else None)

    assert not straight.machine.poisoned
    assert not around.machine.poisoned
    assert by_name(straight) == by_name(around)
    assert everything(straight) == everything(around)
    straight.close()
    around.close()


def everything(world):
    """Every file of ours but volatile ones, by kdamond, whether the policy names it or not."""
    tree = snapshot(world.machine)
    return {
        record.kdamond: {
            path: value
            for path, value in configuration(slot_tree(tree, slot)).items()
            if "/targets/" not in path  # processes keep their places: `by_name` compares them
        }
        for slot, record in world.managed.slots.items()
    }
