"""What `import` prints has everything: applied elsewhere, it gives the same files."""

from __future__ import annotations

import pytest
import yaml

from damonpolicy.emulated.machine import EmulatedMachine, versions
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import configuration, slot_tree, snapshot, startable
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.plan.normal import in_effect
from damonpolicy.policy.importer.policy import Source, policy
from damonpolicy.policy.importer.result import UNSAID
from tests.property.configurations import Wild, Writer
from tests.world import World, in_memory_directory

pytestmark = pytest.mark.unmeasured  # thousands of operations get slow by it

STAT = "/sys/module/damon_stat/parameters/enabled"
SEEDS = 40


def configured(version, seed, slots=2, writer=Writer):
    machine = EmulatedMachine.create(version)
    machine.write(f"{KDAMONDS}/nr_kdamonds", str(slots))
    for slot in range(slots):
        writer(machine, machine.profile, seed, slot).kdamond()
    return machine


def imported(machine):
    tree = snapshot(machine)
    sources = [
        Source(f"slot {slot}", f"k{slot}", slot_tree(tree, slot))
        for slot in range(int(tree["nr_kdamonds"]))
    ]
    return policy(sources, "imported", detect(machine, tree), machine)


def tree(machine, slot):
    """Return what a slot is configured to; what bounds nothing counts as alike."""
    return configuration(startable(in_effect(slot_tree(snapshot(machine), slot))))


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


@pytest.mark.parametrize("version", versions())
def test_what_does_not_come_back_is_named(version):
    """Byte by byte the same, or each difference with its reason, or refused where it stands."""
    same = told = refused = 0
    for seed in range(SEEDS):
        machine = configured(version, seed, 1, Wild)
        found = imported(machine)
        errors = [each for each in found.found if each.severity == "error"]
        if errors:
            refused += 1
            assert all(each.span and each.span.file == "imported.yaml" for each in errors), seed
            kinds = yaml.safe_load(found.text)["kdamonds"][0]
            written = int(slot_tree(snapshot(machine), 0)["contexts/0/schemes/nr_schemes"])
            assert len(kinds.get("schemes", ())) == written, (seed, found.text)
            continue
        assert all(each["why"] not in ("", UNSAID) for each in found.differences), (
            seed, found.differences, found.text,
        )  # fmt: skip
        world = World(EmulatedMachine.create(version), in_memory_directory())
        if world.machine.exists(STAT):
            world.machine.write(STAT, "N")
        world.apply("imported", text=found.text)
        if found.differences:
            told += 1
            assert imported(world.machine).differences == (), (seed, found.text)
        else:
            same += 1
            assert tree(world.machine, 0) == tree(machine, 0), (seed, found.text)
        world.close()
    assert min(same, told, refused) > 0, (same, told, refused)
