"""What a kernel ignores in a commit is not committed: the kdamond restarts, and the plan says why."""

from __future__ import annotations

import pytest

from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.damon.quirks import QUIRKS
from damonpolicy.kernel.system.machine import KDAMONDS, read_value
from damonpolicy.plan.uncommitted import UNCOMMITTED, unheard
from tests.world import World

POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: s
        action: stat
        quota: {{size: {size}, every: 1s, goals: [{goals}]}}
settings: {{/sys/module/damon_stat/parameters/enabled: N}}
"""
GOAL = "{{metric: node_eligible_mem_bp, node: {node}, target: {target}}}"
OTHER = "{metric: active_mem_bp, target: 99%}"
EFFECTIVE = f"{KDAMONDS}/0/contexts/0/schemes/0/quotas/effective_bytes"


def text(*goals, size="1GiB"):
    return POLICY.format(size=size, goals=", ".join(goals))


def eligible(node, target="99%"):
    return GOAL.format(node=node, target=target)


def effective(world):
    world.write("0/state", "update_schemes_effective_quotas")
    return int(read_value(world.machine, EFFECTIVE))


def thread(world):
    return read_value(world.machine, f"{KDAMONDS}/0/pid")


def applied(world, policy):
    """Apply and return the plan of the kdamond."""
    with changing(world.machine, world.places) as session:
        compiled = world.compile("p", text=policy)
        current, plan = prepare(world.machine, session.managed, compiled, compiled)
        session.carry_out(current, plan, Terms("t"))
        return plan.kdamonds[0]


REASON = "this kernel ignores a new node of a `node_eligible_mem_bp` goal while it runs"
CHANGES = {
    "another node": ([eligible(0)], [eligible(1)]),
    "another goal": ([OTHER], [OTHER, eligible(1)]),
    "another metric": ([OTHER], [eligible(1)]),
    "another order": ([eligible(0), eligible(1)], [eligible(1), eligible(0)]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("kernel", "restarts"), [("7.2", True), ("7.3", False)])
def test_a_new_node_of_a_goal_on_eligible_memory_comes_into_effect(kernel, restarts, change):
    """A6: on 7.2 files would read back as written, and the old node go on to count."""
    world = World.make(kernel)
    before, after = (text(*each) for each in CHANGES[change])
    world.apply("p", text=before)
    world.machine.sleep(5)
    pid = thread(world)

    done = applied(world, after)

    assert (done.action == "restart", thread(world) != pid) == (restarts, restarts)
    said = f"it restarts and loses its monitoring results and tuned quotas: {REASON}"
    assert done.remarks == ((said,) if restarts else ())
    nodes = [
        goal["nid"]
        for index, goal in sorted(
            world.machine.running(0)["schemes"]["0"]["quotas"]["goals"].items()
        )
        if index.isdecimal() and goal["target_metric"] == "node_eligible_mem_bp"
    ]
    assert nodes == [each.split("node: ")[1][0] for each in CHANGES[change][1] if "node: " in each]
    world.close()


@pytest.mark.parametrize("kernel", ["7.2", "7.3"])
def test_the_quota_is_that_of_the_new_node(kernel):
    """The machine has 55 % of what is eligible on node 1, and 45 % on node 0."""
    world = World.make(kernel)
    world.apply("p", text=text(eligible(1, "50%")))
    world.machine.sleep(60)
    assert effective(world) == 1

    world.apply("p", text=text(eligible(0, "50%")))
    world.machine.sleep(60)

    assert effective(world) > 100
    world.close()


@pytest.mark.parametrize("kernel", ["7.2", "7.3"])
@pytest.mark.parametrize("change", ["size", "target", "goal that goes"])
def test_what_a_commit_does_carry_is_committed(kernel, change):
    world = World.make(kernel)
    world.apply("p", text=text(eligible(1), OTHER))
    pid = thread(world)
    after = {
        "size": text(eligible(1), OTHER, size="2GiB"),
        "target": text(eligible(1, "50%"), OTHER),
        "goal that goes": text(eligible(1)),
    }[change]

    done = applied(world, after)

    assert (done.action, thread(world)) == ("change", pid)
    world.close()


@pytest.mark.parametrize("kernel", ["7.2", "7.3"])
def test_a_kernel_that_shows_no_sign_of_the_mending_is_not_trusted(monkeypatch, kernel):
    """Without BTF the weight of probes can be seen only where there is a probe."""
    world = World.make(kernel)
    monkeypatch.setattr("damonpolicy.kernel.damon.capabilities._btf_names", lambda _: None)
    world.apply("p", text=text(eligible(0)))

    assert applied(world, text(eligible(1))).action == "restart"
    world.close()


def tree(*goals):
    base = "contexts/0/schemes/0/quotas/goals"
    found = {"contexts/0/schemes/nr_schemes": "1", f"{base}/nr_goals": str(len(goals))}
    for place, (metric, target, node) in enumerate(goals):
        found |= {
            f"{base}/{place}/target_metric": metric,
            f"{base}/{place}/target_value": str(target),
            f"{base}/{place}/nid": str(node),
        }
    return found


ELIGIBLE = "node_eligible_mem_bp"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([(ELIGIBLE, 1, 0)], [(ELIGIBLE, 2, 0)], False),
        ([(ELIGIBLE, 1, 0)], [(ELIGIBLE, 1, 1)], True),
        ([(ELIGIBLE, 1, 0)], [("user_input", 0, 0), (ELIGIBLE, 1, 0)], False),
        ([("user_input", 1, 1)], [(ELIGIBLE, 1, 1)], True),
        ([(ELIGIBLE, 1, 0)], [("node_mem_used_bp", 1, 1)], False),
        ([], [(ELIGIBLE, 0, 1)], False),
    ],
)
def test_goals_are_known_by_their_place_among_those_with_a_target(before, after, told):
    names = [each.quirk for each in UNCOMMITTED]

    assert bool(unheard(names, tree(*after), tree(*before))) is told
    assert not unheard([], tree(*after), tree(*before))


def test_what_someone_staged_meanwhile_is_no_proof():
    """What was committed counts as well as what the files say."""
    names = [each.quirk for each in UNCOMMITTED]
    old, new = tree((ELIGIBLE, 1, 0)), tree((ELIGIBLE, 1, 1))

    assert unheard(names, new, new, old)
    assert unheard(names, new, old, new)


def test_each_is_a_quirk_of_kernels():
    assert {each.quirk for each in UNCOMMITTED} <= {each.name for each in QUIRKS}


OFTEN = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    region_count: {{min: {least}, max: 1000}}
    {intervals}
    schemes:
      - {{name: s, action: stat, apply_every: {every}}}
      - {{name: other, action: stat}}
settings: {{/sys/module/damon_stat/parameters/enabled: N}}
"""
TUNING = "intervals: {auto_tune: {observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}}"


def often(every, least=10, intervals=""):
    return OFTEN.format(every=every, least=least, intervals=intervals)


def tried(world):
    world.write("0/state", "update_schemes_stats")
    return int(read_value(world.machine, f"{KDAMONDS}/0/contexts/0/schemes/0/stats/nr_tried"))


@pytest.mark.parametrize("kernel", ["6.18", "7.2", "7.3"])
def test_a_scheme_that_shall_be_applied_more_often_does_not_wait_as_long_as_before(kernel):
    """A commit alone would let an hour pass first."""
    world = World.make(kernel)
    world.apply("p", text=often("1h"))
    pid = thread(world)
    assert tried(world) == 0
    before = len(world.machine.log)

    world.apply("p", text=often("1s"))
    writes = [(each.path.rpartition("/")[2], each.text) for each in world.machine.log[before:]]
    world.machine.sleep(2)

    assert tried(world) > 0
    assert thread(world) == pid
    assert [each for each in writes if each[1] != "update_schemes_stats"] == [
        ("max", "1001"), ("apply_interval_us", "1000000"), ("state", "commit"), ("max", "1000"),
        ("state", "commit"),
    ]  # fmt: skip
    world.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (often("1s"), often("1h")),
        (often("1h"), often("1s", least=11)),
        (often("1h", intervals=TUNING), often("1s", intervals=TUNING)),
    ],
    ids=["less often", "beside another attribute", "tuned intervals"],
)
def test_one_commit_does_where_nothing_waits(before, after):
    world = World.make("7.3")
    world.apply("p", text=before)
    since = len(world.machine.log)

    world.apply("p", text=after)

    assert [each.text for each in world.machine.log[since:]].count("commit") == 1
    world.close()


def test_an_aggregation_is_a_turn_where_a_scheme_has_no_interval_of_its_own():
    world = World.make("7.3")
    world.apply("p", text=often("1h"))
    since = len(world.machine.log)

    world.apply("p", text=often("1h").replace(", apply_every: 1h", ""))
    world.machine.sleep(1)

    assert [each.text for each in world.machine.log[since:]].count("commit") == 2
    assert tried(world) > 0
    world.close()


@pytest.mark.parametrize(("kernel", "late"), [("6.12", True), ("7.0", True), ("7.1", False)])
def test_what_comes_into_effect_late_is_said(kernel, late):
    world = World.make(kernel)
    world.apply("p", text=often("1s"))

    done = applied(world, often("1s", least=50))

    said = "this kernel minds the new `region_count.min` from the next `intervals.update` on"
    assert (done.action, done.remarks) == ("change", (said,) if late else ())
    world.close()


def test_a_process_that_ended_is_dropped_by_the_first_of_two_commits():
    """The second would not find it any more, and be refused."""
    world = World.make("7.3")
    for pid in (2000, 2001):
        world.machine.start_process("worker", pid=pid, areas=[{"size": "8MiB"}])
    policy = often("1h").replace("ops: paddr", "ops: vaddr")
    policy = policy.replace("{system_ram: true}", "{process: {name: worker}}")
    world.apply("p", text=policy)
    world.machine.exit_process(2000)

    world.apply("p", text=policy.replace("1h", "1s"))
    world.machine.sleep(2)

    assert tried(world) > 0
    assert world.machine.running(0)["targets"]["nr_targets"] == "1"
    world.close()


FED = "{metric: user_input, target: 100, from: {file: /run/score}}"
PSI = "{metric: some_mem_psi_us, target: 1ms}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (text(), text(FED)),
        (text(PSI), text(PSI, FED)),
        (text(FED), text(FED).replace("name: s\n", "name: new\n").replace("1GiB", "2GiB")),
    ],
    ids=["first", "second", "of a new scheme"],
)
@pytest.mark.parametrize(("kernel", "commits"), [("6.12", 1), ("6.16", 1), ("6.17", 0), ("7.3", 0)])
def test_a_new_goal_begins_with_its_current_value(kernel, commits, before, after):
    """6.12 leaves it behind in the commit that adds the goal: the quota would grow to its end."""
    world = World.make(kernel)
    world.apply("p", text=before.replace(", goals: []", ""))
    since = len(world.machine.log)

    world.apply("p", text=after)

    goals = world.machine.running(0)["schemes"]["0"]["quotas"]["goals"]
    fed = [
        each
        for each in goals.values()
        if isinstance(each, dict) and each["target_metric"] == "user_input"
    ]
    assert [each["current_value"] for each in fed] == ["100"]
    least = 1 + ("name: new" in after)
    assert [each.text for each in world.machine.log[since:]].count("commit") == least + commits
    world.close()


def test_in_older_kernels_every_commit_works_out_when_schemes_are_applied_next():
    world = World.make("6.12")
    world.apply("p", text=often("1h"))
    since = len(world.machine.log)

    world.apply("p", text=often("1s"))
    commits = [each.text for each in world.machine.log[since:]].count("commit")
    world.machine.sleep(2)

    assert tried(world) > 0
    assert commits == 1
    world.close()
