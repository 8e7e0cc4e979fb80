"""Tuned values and counts stay with their scheme or are lost; another never gets them."""

from __future__ import annotations

import pytest

from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.system.machine import KDAMONDS, read_value
from damonpolicy.plan.positions import Schemes, without_schemes
from tests.world import World

SCHEMES = f"{KDAMONDS}/0/contexts/0/schemes"
POLICY = """\
version: 1
name: {policy}
kdamonds:
  - name: {kdamond}
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:{schemes}
settings: {{/sys/module/damon_stat/parameters/enabled: N}}
"""
TUNED = """
      - name: {name}
        action: stat
        quota: {{size: 1GiB, every: {every}s, goals: [{{metric: some_mem_psi_us, target: 1ms}}]}}"""
PLAIN = """
      - {{name: {name}, action: stat}}"""
EVERY = {"fast": 1, "mid": 2, "slow": 3, "last": 4}
"""By name: from the different lengths of their windows come quotas that differ."""


def text(*names, policy="p", kdamond="k", form=TUNED):
    schemes = "".join(form.format(name=name, every=EVERY.get(name, 5)) for name in names)
    return POLICY.format(policy=policy, kdamond=kdamond, schemes=schemes)


def quotas(world):
    """The tuned quota of each scheme, in the kernel's order."""
    world.write("0/state", "update_schemes_effective_quotas")
    count = int(read_value(world.machine, f"{SCHEMES}/nr_schemes"))
    return [
        int(read_value(world.machine, f"{SCHEMES}/{place}/quotas/effective_bytes"))
        for place in range(count)
    ]


def thread(world, slot=0):
    return read_value(world.machine, f"{KDAMONDS}/{slot}/pid")


def planned(world, *texts):
    """Plan for just these policies; others that are managed end."""
    with changing(world.machine, world.places) as session:
        compiled = {}
        for each in texts:
            compiled |= world.compile("p", text=each)
        current, plan = prepare(world.machine, session.managed, compiled, compiled)
        return session, current, plan


def replaced(world, *texts):
    """Carry that out; return the plan."""
    with changing(world.machine, world.places) as session:
        compiled = {}
        for each in texts:
            compiled |= world.compile("p", text=each)
        current, plan = prepare(world.machine, session.managed, compiled, compiled)
        session.carry_out(current, plan, Terms("t"))
        return plan


@pytest.fixture(params=["6.12", "6.18", "7.2", "7.3"])
def world(request):
    made = World.make(request.param)
    yield made
    made.close()


CHANGES = {
    "inserted": (["fast", "slow", "last"], ["fast", "mid", "slow", "last"]),
    "inserted first": (["fast", "slow"], ["mid", "fast", "slow"]),
    "moved": (["fast", "mid", "slow"], ["fast", "slow", "mid"]),
    "removed": (["fast", "mid", "slow"], ["fast", "slow"]),
    "replaced": (["fast", "slow"], ["fast", "mid"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_scheme_never_begins_with_what_was_tuned_for_another(world, change):
    before, after = CHANGES[change]
    world.apply("p", text=text(*before))
    world.machine.sleep(24)
    tuned, pid = dict(zip(before, quotas(world), strict=True)), thread(world)
    assert len(set(tuned.values())) == len(before), tuned

    world.apply("p", text=text(*after))

    assert pid == thread(world), "it is changed online"
    stays = True
    for place, (name, quota) in enumerate(zip(after, quotas(world), strict=True)):
        stays = stays and place < len(before) and before[place] == name
        if not stays:
            assert quota <= 1, name
        elif not world.machine.profile.quirk("quota.fresh"):
            assert quota == tuned[name], name


@pytest.mark.parametrize("change", ["appended", "last removed", "changed"])
def test_schemes_that_stay_keep_what_was_tuned_in_one_commit(change):
    """And nothing is said of positions."""
    world = World.make("7.3")
    before = ["fast", "slow"]
    after = {
        "appended": text("fast", "slow", "last"),
        "last removed": text("fast"),
        "changed": text("fast", "slow").replace("1GiB", "2GiB"),
    }[change]
    world.apply("p", text=text(*before))
    world.machine.sleep(24)
    tuned = quotas(world)

    plan = replaced(world, after)

    assert [each.after for each in plan.operations if each.kind == "command"] == ["commit"]
    assert plan.kdamonds[0].remarks == ()
    assert [each for each, _ in zip(quotas(world), tuned, strict=False)] == tuned[
        : len(quotas(world))
    ]
    world.close()


@pytest.mark.parametrize("change", ["inserted", "moved", "removed"])
def test_the_plan_names_the_schemes_that_begin_again(change):
    world = World.make("7.3")
    before, after = CHANGES[change]
    world.apply("p", text=text(*before))

    _, _, plan = planned(world, text(*after))

    moved = {
        "inserted": "`slow`, `last` begin",
        "moved": "`slow`, `mid` begin",
        "removed": "`slow` begins",
    }
    lost = "again, statistics and tuned quotas start over"
    assert plan.kdamonds[0].remarks == (
        f"the kernel knows schemes by position: {moved[change]} {lost}",
    )
    world.close()


def test_without_goals_it_is_the_statistics_that_start_over():
    world = World.make("7.3")
    world.apply(
        "p",
        text=text("one", "two", form=PLAIN).replace(
            "two, action: stat", "two, action: stat, apply_every: 1s"
        ),
    )
    world.machine.sleep(5)

    plan = replaced(
        world,
        text("two", form=PLAIN).replace("two, action: stat", "two, action: stat, apply_every: 1s"),
    )

    assert plan.kdamonds[0].remarks == (
        "the kernel knows schemes by position: `two` begins again, statistics start over",
    )
    world.write("0/state", "update_schemes_stats")
    assert read_value(world.machine, f"{SCHEMES}/0/stats/nr_tried") == "0"
    world.close()


def test_a_scheme_that_changes_its_name_only_stays_the_same():
    world = World.make("7.3")
    world.apply("p", text=text("fast", "slow"))
    world.machine.sleep(24)
    tuned, before = quotas(world), len(world.machine.log)

    plan = replaced(world, text("fast", "slow").replace("name: slow", "name: other"))

    assert (plan.operations, plan.kdamonds[0].remarks) == ((), ())
    assert [each.path for each in world.machine.log[before:]] == []
    assert tuned == quotas(world)
    assert world.managed.slots[0].names["contexts/0/schemes/1"] == "other"
    world.close()


@pytest.mark.parametrize(
    ("policy", "kdamond"), [("p", "other"), ("other", "k"), ("other", "other")]
)
def test_what_runs_goes_on_under_its_new_name_without_a_write(world, policy, kdamond):
    """Nothing of a kdamond depends on what we call it, and all that was tuned stays."""
    world.apply("p", text=text("fast", "slow"))
    world.machine.sleep(24)
    tuned, pid, before = quotas(world), thread(world), len(world.machine.log)

    plan = replaced(world, text("fast", "slow", policy=policy, kdamond=kdamond))

    assert [(each.name, each.slot, each.action) for each in plan.kdamonds] == [
        (f"{policy}/{kdamond}", 0, "adopt")
    ]
    assert plan.kdamonds[0].remarks == (
        "was `p/k`, and runs already as wanted: adopted without a write",
    )
    assert [each for each in world.machine.log[before:] if "damon/admin" in each.path] == []
    assert (tuned, pid) == (quotas(world), thread(world))
    assert world.managed.slots[0].kdamond == f"{policy}/{kdamond}"
    assert list(world.managed.policies) == [policy]


def test_one_that_is_kept_is_not_taken_for_another():
    """Two kdamonds may be alike: only one that ends goes on under another name."""
    world = World.make("7.3")
    world.apply("p", text=text("fast"))

    world.apply("q", text=text("fast", policy="q"))

    assert {slot: each.kdamond for slot, each in world.managed.slots.items()} == {
        0: "p/k",
        1: "q/k",
    }
    world.close()


@pytest.mark.parametrize("staged", [True, False])
def test_one_that_someone_else_has_changed_is_started_under_its_new_name(staged):
    """Files that were staged say nothing of what runs, nor do those that we wrote."""
    world = World.make("7.3")
    wanted = text("fast") if staged else text("fast").replace("1GiB", "2GiB")
    world.apply("p", text=text("fast"))
    world.write("0/contexts/0/schemes/0/quotas/bytes", str(2 << 30))

    plan = replaced(world, wanted.replace("name: k", "name: other"))

    assert {each.name: each.action for each in plan.kdamonds} == {"p/other": "start", "p/k": "stop"}
    world.close()


LOST = "`p/k` has the same targets and ends: its monitoring results and tuned quotas start over"
LATER = " (renamed first and changed later, it would go on)"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (text("fast"), text("fast", kdamond="other").replace("1GiB", "2GiB"), LOST + LATER),
        (text("fast"), text("fast", policy="q").replace("1GiB", "2GiB"), LOST + LATER),
        (text("fast"), text("fast", "slow", kdamond="other"), LOST + LATER),
        (text("fast"), text("slow", kdamond="other"), LOST + LATER),
        (
            text("a", form=PLAIN),
            text("a", kdamond="other"),
            LOST.replace(" and tuned quotas", "") + LATER,
        ),
        (
            text("fast"),
            text("fast", kdamond="other").replace("system_ram: true", "numa_node: 1"),
            "",
        ),
    ],
)
def test_one_that_changes_its_name_and_more_says_what_it_loses(world, before, after, said):
    world.apply("p", text=before)

    plan = replaced(world, after)

    started = next(each for each in plan.kdamonds if each.runs)
    assert started.action == "start"
    assert [each.action for each in plan.kdamonds if not each.runs] == ["stop"]
    assert started.remarks == ((said,) if said else ())


def test_what_somebody_changed_is_lost_under_its_new_name():
    """Although only its name changes: what runs is not what was committed."""
    world = World.make("7.3")
    world.apply("p", text=text("fast"))
    world.write("0/contexts/0/schemes/0/quotas/bytes", str(2 << 30))

    plan = replaced(world, text("fast", kdamond="other"))

    assert [each.remarks for each in plan.kdamonds] == [(LOST,), ()]
    world.close()


def test_each_that_ends_is_lost_once():
    """One that runs already, or that somebody goes on as, is none of those that start over."""
    world = World.make("7.3")
    world.apply("p", text=text("fast"))
    twice = text("slow", policy="q"), text("mid", policy="r")

    plan = replaced(world, *twice)
    assert [each.remarks for each in plan.kdamonds] == [(LOST + LATER,), (), ()]

    adopted = replaced(world, text("slow", policy="s"), text("mid", policy="r"))
    assert [each.action for each in adopted.kdamonds if each.name == "s/k"] == ["adopt"]
    added = replaced(world, text("slow", policy="s"), text("mid", policy="r"), text("last"))
    assert [each.remarks for each in added.kdamonds if each.action == "start"] == [()]
    world.close()


def test_obsolete_targets_and_moved_schemes_take_two_commits_together():
    """The first drops both; the second knows neither."""
    world = World.make("7.3")
    for pid in (2000, 2001):
        world.machine.start_process("worker", pid=pid, areas=[{"size": "8MiB"}])
    policy = text("fast", "mid", "slow").replace("ops: paddr", "ops: vaddr")
    policy = policy.replace("{system_ram: true}", "{process: {name: worker}}")
    world.apply("p", text=policy)
    world.machine.sleep(30)
    world.machine.exit_process(2000)

    plan = replaced(
        world, policy.replace("name: fast", "name: other").replace("every: 1s", "every: 7s")
    )

    words = [each.after for each in plan.operations if each.kind == "command"]
    assert words == ["commit", "commit"]
    runs = world.machine.running(0)
    assert (runs["targets"]["nr_targets"], runs["schemes"]["nr_schemes"]) == ("1", "3")
    assert quotas(world) == [0, 0, 0]
    world.close()


def tree(*actions):
    found = {"contexts/0/schemes/nr_schemes": str(len(actions)), "contexts/0/operations": "paddr"}
    return found | {
        f"contexts/0/schemes/{place}/action": each for place, each in enumerate(actions)
    }


def named(*names):
    return {f"contexts/0/schemes/{place}": each for place, each in enumerate(names)}


def test_the_front_is_what_keeps_its_place_by_name_or_content():
    one = Schemes(
        tree("stat", "cold", "pageout"),
        tree("cold", "cold", "stat"),
        named("a", "b", "c"),
        named("a", "x", "d"),
    )

    assert (one.front, one.inherit, one.remark) == (2, True, "")


def test_a_tree_of_the_front_alone():
    assert without_schemes(tree("stat", "cold"), 1) == tree("stat")
    assert without_schemes(tree("stat", "cold"), 0) == tree()
