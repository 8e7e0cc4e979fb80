"""Start and end of tuned intervals: restarts, and tuning switched on and off."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import RolledBack
from damonpolicy.kernel.system.machine import KDAMONDS, read_value
from tests.world import World, fail_at

INTERVALS = "0/contexts/0/monitoring_attrs/intervals"
OFF = "settings: {/sys/module/damon_stat/parameters/enabled: N}\n"
PADDR = "ops: paddr\n    targets: [{system_ram: true}]"
VADDR = "ops: vaddr\n    targets: [{process: {name: nginx}}]"


def policy(intervals, what=PADDR):
    return (
        f"version: 1\nname: p\nkdamonds:\n  - name: k\n    {what}\n"
        f"    intervals: {{{intervals}}}\n" + OFF
    )


def tune(low, high, start="5ms"):
    return (
        f"sample: {start}, auto_tune: {{observe: 4%, aggregations: 3,"
        f" min_sample: {low}, max_sample: {high}}}"
    )


def intervals(world):
    return tuple(
        int(read_value(world.machine, f"{KDAMONDS}/{INTERVALS}/{name}"))
        for name in ("sample_us", "aggr_us")
    )


@pytest.fixture(params=["6.18", "7.3"])
def world(request):
    made = World.make(request.param)
    yield made
    made.close()


def tuned_far(world, text):
    """Apply, and let the kernel tune until the interval has moved."""
    world.apply("p", text=text)
    start = intervals(world)
    for _ in range(100):
        world.machine.sleep(10)
        world.write("0/state", "update_tuned_intervals")
        if intervals(world) != start:
            return
    raise AssertionError("the emulated kernel does not tune")


def test_switching_tuning_off_sets_the_intervals_of_the_policy(world):
    tuned_far(world, policy(tune("1ms", "10s")))

    world.apply("p", text=policy("sample: 7ms, aggregation: 70ms"))

    assert intervals(world) == (7_000, 70_000)


def test_a_restart_begins_where_the_policy_says(world):
    tuned_far(world, policy(tune("1ms", "10s")))

    world.apply("p", text=policy(tune("20ms", "1s", "30ms"), VADDR))

    assert intervals(world) == (30_000, 600_000)


def test_a_kdamond_that_ended_begins_where_the_policy_says(world):
    tuned_far(world, policy(tune("1ms", "10s"), VADDR))
    world.machine.exit_process(530)
    world.machine.start_process("nginx", areas=[{"size": "64MiB"}])
    world.machine.sleep(120)
    assert read_value(world.machine, f"{KDAMONDS}/0/state") == "off"

    world.apply("p", text=policy(tune("1ms", "10s"), VADDR))

    assert intervals(world) == (5_000, 100_000)
    assert read_value(world.machine, f"{KDAMONDS}/0/state") == "on"


def test_an_undone_stop_starts_it_within_its_bounds(world):
    world.apply("p", text=policy(tune("500us", "1ms", "1ms")))
    before = world.look()
    nothing = "version: 1\nname: p\n" + OFF
    writes = fail_at(world.machine, 3)

    with pytest.raises(RolledBack):
        world.apply("p", text=nothing)

    world.machine.before_write = None
    assert writes["writes"] > 3
    assert before == world.look()
