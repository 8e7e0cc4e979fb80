"""A saved plan refuses a machine that has moved, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from damonpolicy.base.errors import StalePlan, UsageError
from damonpolicy.engine.prepare import prepare
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import digest
from damonpolicy.plan import saved
from damonpolicy.plan.machine_state import retrieve
from tests.world import World

BASE = "0/contexts/0"
POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: vaddr
    targets: [{process: {name: qemu-system-x86_64}}]
  - name: m
    ops: paddr
    targets: [{system_ram: true}]
    schemes: [{name: s, action: stat, filters: [{allow: {memcg: /machine.slice}}]}]
settings: {/sys/module/damon_stat/parameters/enabled: N, /proc/sys/vm/swappiness: 10}
"""


@pytest.fixture
def world():
    made = World.make("7.3")
    yield made
    made.close()


def plan(world, text=POLICY):
    compiled = world.compile("p", text=text)
    wanted = {**world.managed.policies, **compiled}
    _, made = prepare(world.machine, world.managed, wanted, compiled)
    return made, detect(world.machine, retrieve(world.machine).tree).digest


def kept(made, capabilities):
    """What a file would hold."""
    return json.loads(json.dumps(saved.to_json(made, capabilities)))


def reason(world, before):
    with pytest.raises(StalePlan) as caught:
        saved.refuse_stale(*saved.from_json(kept(*before), "f"), *plan(world))
    return caught.value.message.partition(": ")[2]


def test_a_machine_that_stands_still_is_fine(world):
    before = plan(world)
    world.machine.sleep(3600)

    saved.refuse_stale(*saved.from_json(kept(*before), "f"), *plan(world))


@pytest.mark.parametrize(
    "move",
    [
        lambda world: world.write("nr_kdamonds", "3"),
        lambda world: world.foreign(on=False),
        lambda world: world.write("/sys/module/damon_stat/parameters/enabled", "N"),
        lambda world: world.write("/proc/sys/vm/swappiness", "11"),
        lambda world: world.apply("monitor"),
    ],
    ids=["slots", "bytes", "modules", "settings", "transaction"],
)
def test_what_the_plan_relies_on(world, move):
    before = plan(world)
    move(world)

    assert reason(world, before) == "slots, files, modules or settings have moved"


def test_a_byte_of_a_running_kdamond(world):
    world.apply("p", text=POLICY)
    before = plan(world, POLICY.replace("action: stat", "action: lru_prio"))
    world.write(f"{BASE}/monitoring_attrs/nr_regions/max", "500")
    text = POLICY.replace("action: stat", "action: lru_prio")

    with pytest.raises(StalePlan, match="slots, files, modules or settings have moved"):
        saved.refuse_stale(*before, *plan(world, text))


@pytest.mark.parametrize(
    "move",
    [
        lambda world: world.machine.exit_process(815),
        lambda world: world.machine.start_process(
            "qemu-system-x86", exe="/usr/bin/qemu-system-x86_64"
        ),
        lambda world: world.machine.make_cgroup("/machine.slice/vm-3.scope"),
    ],
    ids=["process gone", "process come", "cgroup come"],
)
def test_what_is_looked_up_at_the_apply(world, move):
    before = plan(world)
    move(world)

    assert reason(world, before) == "processes, cgroups or memory have moved"


def test_another_boot(world):
    before = plan(world)
    world.machine.reboot()

    assert reason(world, before) == "the machine was booted since"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"machine": "live"}, "it is for `live`"),
        ({"release": "6.12"}, "the kernel is another one"),
    ],
)
def test_another_machine(world, other, said):
    made, capabilities = plan(world)

    assert reason(world, (replace(made, **other), capabilities)) == said


def test_other_capabilities(world):
    made, _ = plan(world)

    assert reason(world, (made, "other")) == "the kernel's capabilities are others"


def test_a_file_that_was_changed_is_none(world):
    data = kept(*plan(world))
    data["operations"][0]["after"] = "evil"

    with pytest.raises(UsageError, match="is not a plan, or was changed"):
        saved.from_json(data, "f")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.clear(),
        lambda data: data.update(format=2),
        lambda data: data.pop("settings"),
        lambda data: data.update(kdamonds=[{"name": "x"}]),
        lambda data: data.update(operations=[1]),
    ],
    ids=["empty", "format", "part missing", "kdamond", "operation"],
)
def test_what_is_no_plan_is_said_to_be_none(world, spoil):
    data = kept(*plan(world))
    del data["digest"]
    spoil(data)
    data["digest"] = digest(dict(data))

    with pytest.raises(UsageError, match="`f` is not a plan") as caught:
        saved.from_json(data, "f")
    assert caught.value.hint == "make one with `damonpolicy plan --out FILE`"
