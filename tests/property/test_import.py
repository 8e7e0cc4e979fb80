"""What `import` prints says the same as the kernel: applied elsewhere, every byte is there."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import EmulatedMachine, versions
from damonpolicy.kernel.capabilities import detect
from damonpolicy.kernel.sysfs import KDAMONDS
from damonpolicy.kernel.tree import configuration, slot_tree, snapshot, startable
from damonpolicy.plan.imported import Source, policy
from tests.property.configurations import Writer
from tests.world import World, in_memory_directory

pytestmark = pytest.mark.unmeasured  # thousands of operations get slow by it

STAT = "/sys/module/damon_stat/parameters/enabled"
SEEDS = 40


def configured(version, seed, slots=2):
    machine = EmulatedMachine.create(version)
    machine.write(f"{KDAMONDS}/nr_kdamonds", str(slots))
    for slot in range(slots):
        Writer(machine, machine.profile, seed, slot).kdamond()
    return machine


def imported(machine):
    tree = snapshot(machine)
    sources = [
        Source(f"slot {slot}", f"k{slot}", slot_tree(tree, slot))
        for slot in range(int(tree["nr_kdamonds"]))
    ]
    return policy(sources, "imported", detect(machine, tree), machine)


def tree(machine, slot):
    return configuration(startable(slot_tree(snapshot(machine), slot)))


@pytest.mark.parametrize("version", versions())
def test_every_byte_comes_back(version):
    for seed in range(SEEDS):
        machine = configured(version, seed)
        found = imported(machine)

        assert not [each for each in found.found if each.severity == "error"], (seed, found)
        assert found.differences == (), (seed, found.text)
        world = World(EmulatedMachine.create(version), in_memory_directory())
        if world.machine.exists(STAT):
            world.machine.write(STAT, "N")
        text = found.text
        world.apply("imported", text=text)
        for slot in (0, 1):
            assert tree(world.machine, slot) == tree(machine, slot), (seed, text)
        world.close()
