"""Fatal commands are never sent to a kernel, even if others have staged the cause."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import Busy
from tests.engine.site import Site
from tests.world import World

HEAD = """
version: 1
name: p
settings: {/sys/module/damon_stat/parameters/enabled: N}
kdamonds:
  - name: k
    ops: paddr
"""
SLEEPY = (
    HEAD
    + """
    targets: [{system_ram: true}]
    schemes:
      - name: s
        action: stat
        access_pattern: {age: {min: AGE}}
        watermarks: {metric: free_mem_rate, every: 5s, high: 20%, mid: 15%, low: 10%}
"""
)


def awake(text):
    return "\n".join(line for line in text.splitlines() if "watermarks" not in line)


@pytest.fixture
def world(request):
    made = World.make(request.param)
    yield made
    assert not made.machine.poisoned
    made.close()


@pytest.mark.parametrize("world", ["6.12"], indirect=True)
@pytest.mark.parametrize(
    "change", [(SLEEPY, SLEEPY), (awake(SLEEPY), SLEEPY), (SLEEPY, awake(SLEEPY))]
)
def test_no_commit_goes_to_a_kdamond_that_may_sleep_for_ever(world, change):
    """Most memory is free: the watermarks let no scheme be active."""
    before, after = change
    world.apply("p", text=before.replace("AGE", "1m"))
    first = world.managed.slots[0].pid
    done = len(world.machine.log)
    world.apply("p", text=after.replace("AGE", "2m"))

    assert "commit" not in [each.text for each in world.machine.log[done:]]
    assert first != world.managed.slots[0].pid


@pytest.mark.parametrize("world", ["6.18", "7.3"], indirect=True)
def test_newer_kernels_answer(world):
    world.apply("p", text=SLEEPY.replace("AGE", "1m"))
    first = world.managed.slots[0].pid
    world.apply("p", text=SLEEPY.replace("AGE", "2m"))

    assert first == world.managed.slots[0].pid


def test_a_kdamond_that_lost_its_context_is_not_asked():
    """6.18 dereferences NULL."""
    site = Site("6.18")
    site.done("apply", site.policy("p", awake(SLEEPY).replace("AGE", "1m")))
    site.world.write("0/contexts/nr_contexts", "0")
    outcome = site.run("status", "--update")

    assert outcome.code == Busy.exit_code
    assert "its context was removed by someone else" in outcome.err
    assert not site.machine.poisoned
    site.close()


@pytest.mark.parametrize("world", ["6.18", "7.3"], indirect=True)
@pytest.mark.parametrize("unit", [1, 1 << 20])
def test_regions_within_a_page_or_a_unit_become_one(world, unit):
    """Else they are refused by 7.3, and empty ones are divided by on 6.18."""
    spans = [(0x100001000, 0x100001800), (0x100001C00, 0x100002000)]
    regions = ", ".join(f"{{start: {start:#x}, end: {end:#x}}}" for start, end in spans)
    text = f"{HEAD}    addr_unit: {unit}\n    targets: [{{regions: [{regions}]}}]\n"
    world.apply("p", text=text)

    base = "/sys/kernel/mm/damon/admin/kdamonds/0/contexts/0/targets/0/regions"
    assert world.machine.read(f"{base}/nr_regions").strip() == "1"
    start, end = (int(world.machine.read(f"{base}/0/{name}")) for name in ("start", "end"))
    grain = max(unit, 4096)
    assert start * unit == 0x100001000 // grain * grain
    assert end * unit == -(-0x100002000 // grain) * grain
