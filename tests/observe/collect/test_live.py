"""The regions that schemes tried, as the kernel shows them."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.observe.collect import live
from damonpolicy.observe.collect.running import running
from damonpolicy.observe.regions import UNKNOWN
from damonpolicy.plan.machine_state import retrieve
from tests.world import World

LOOK = """
version: 1
name: look
kdamonds:
  - name: vms
    ops: vaddr
    targets: [{process: {name: qemu-system-x86_64}}]
    temperature: {size: 1, access_rate: 2, age: 3}
    schemes:
      - name: all
        action: stat
      - name: second
        action: stat
        access_pattern: {access_rate: {max: 0%}}
        filters: [{allow: {target: 1}}]
modules: {damon_stat: {enabled: false}}
"""


@pytest.fixture
def world():
    made = World.make("7.3")
    made.apply("look", text=LOOK)
    yield made
    made.close()


def kdamond(world):
    (found,) = running(retrieve(world.machine), world.managed)
    return found


def test_regions_are_what_the_kernel_wrote_down(world):
    found = kdamond(world)
    live.ask(world.machine, found)
    every, second = live.read(world.machine, found)
    regions, directory = every.snapshot(0), f"{KDAMONDS}/0/contexts/0/schemes/0/tried_regions"

    assert len(regions) > 2
    assert str(regions.start[0]) == world.machine.read(f"{directory}/0/start").strip()
    assert regions.total == int(world.machine.read(f"{directory}/total_bytes"))
    assert regions.passed is None, "no filter looks at pages"
    assert (every.source.name, second.source.target) == ("look/vms, scheme all", 1)
    assert every.source.weights == (1, 2, 3)
    assert every.source.target == UNKNOWN, "there are two"
    assert every.intervals(0).samples == 20
    assert [each.pid for each in every.source.targets] == [811, 815]
    assert not (second.snapshot(0).accesses > 0).any()


def test_what_passed_is_told_where_pages_are_looked_at(world):
    text = LOOK.replace("[{allow: {target: 1}}]", "[{allow: {target: 1}}, {allow: anon}]")
    world.apply("look", text=text)
    found = kdamond(world)
    live.ask(world.machine, found)
    second = live.read(world.machine, found)[1].snapshot(0)

    assert second.passed is not None
    assert 0 < second.passed.sum() <= second.total


def test_nothing_is_left_of_what_was_asked_for(world):
    found = kdamond(world)

    assert not live.told(world.machine, found)
    live.ask(world.machine, found)
    assert live.told(world.machine, found)
    live.clear(world.machine, found)
    assert not live.told(world.machine, found)


def test_a_look_leaves_regions_as_they_were(world):
    found = kdamond(world)

    assert live.look(world.machine, found)[0].regions.total > 0
    assert not live.told(world.machine, found)

    live.ask(world.machine, found)
    live.look(world.machine, found)

    assert live.told(world.machine, found), "somebody had asked for them"


def test_a_look_that_is_interrupted_leaves_no_regions(world, monkeypatch):
    found = kdamond(world)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        live.look(world.machine, found)

    assert not live.told(world.machine, found)


def test_the_lock_is_held_until_the_last_scheme_has_its_turn(world):
    world.apply(
        "look",
        text=LOOK.replace(
            "action: stat\n        acc", "action: stat\n        apply_every: 2s\n        acc"
        ),
    )

    assert live.held_for(kdamond(world)) == pytest.approx(2.005)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (("    ops: vaddr", "    paused: true\n    ops: vaddr"), "it is paused"),
        ((LOOK[LOOK.index("    schemes:") : LOOK.index("modules")], ""), "it has no scheme"),
        (("action: stat", "action: stat\n        watermarks: {metric: free_mem_rate, every: 1s, high: 50%, mid: 40%, low: 20%}"), "watermarks"),
        (("    schemes:", "    intervals: {auto_tune: {observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}}\n    schemes:", "action: stat", "action: stat\n        apply_every: 10s"), "tuning"),
    ],
    ids=["paused", "no scheme", "asleep", "starved"],
)  # fmt: skip
def test_what_would_never_end_is_not_asked(world, changed, why):
    text = LOOK
    for old, new in zip(changed[::2], changed[1::2], strict=True):
        text = text.replace(old, new)
    world.apply("look", text=text)

    assert why in live.obstacle(world.machine, kdamond(world))


def test_someone_elses_kdamond_is_known_by_its_slot(world):
    machine = world.machine
    for path, text in (
        ("1/contexts/nr_contexts", "1"),
        ("1/contexts/0/operations", "vaddr"),
        ("1/contexts/0/targets/nr_targets", "1"),
        ("1/contexts/0/targets/0/pid_target", "811"),
        ("1/state", "on"),
    ):
        machine.write(f"{KDAMONDS}/{path}", text)

    ours, other = running(retrieve(machine), world.managed)

    assert (ours.name, ours.ours) == ("look/vms", True)
    assert (other.name, other.ours) == ("slot 1", False)
