"""One observation of the machine: numbers, goals, trends, obstacles."""

from __future__ import annotations

import json

import pytest

from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.engine.lock import exclusive
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.conftest import Desk
from tests.policies import toward_goals
from tests.world import World

POLICY = (
    toward_goals(
        "r",
        "{metric: some_mem_psi_us, target: 500us},"
        " {metric: node_mem_used_bp, node: 0, target: 50%}",
    )
    + "      - {name: seen, action: stat}\n"
)
EVERY = 30.0


@pytest.fixture
def watched(desk):
    desk.job = ObserveJob(desk.keeper, Repairer(desk.keeper))
    desk.put("r.yaml", POLICY)
    assert desk.rest().kind == "applied", desk.reloader.outcome
    return desk


def look(desk):
    """Let the time until the next look pass, and look."""
    desk.world.machine.sleep(max(desk.job.due - desk.world.machine.monotonic(), 0) + 0.1)
    desk.job.run()
    return desk.job.last


def schemes(desk):
    (kdamond,) = look(desk).kdamonds
    return {each.name: each for each in kdamond.schemes}


def test_what_is_seen(watched):
    watched.world.machine.sleep(30)
    seen = look(watched)
    (kdamond,) = seen.kdamonds

    assert (kdamond.name, kdamond.targets, seen.generation) == ("r/k", 1, 1)
    assert seen.drift == ()
    assert kdamond.cpu == 0.0, "the emulated kernel's threads cost nothing"
    assert [each.name for each in kdamond.schemes] == ["cold", "seen"]
    assert kdamond.schemes[1].statistics["sz_tried"] > 0
    assert "sz_ops_filter_passed" not in kdamond.schemes[1].statistics, "it has no such filter"
    assert kdamond.schemes[1].goals == ()


def test_our_kdamonds_are_asked_and_nothing_is_written(watched):
    since = len(watched.world.machine.log)
    look(watched)

    assert [(each.path, each.text) for each in watched.world.machine.log[since:]] == [
        (f"{KDAMONDS}/0/state", "update_schemes_stats"),
        (f"{KDAMONDS}/0/state", "update_schemes_effective_quotas"),
    ]


def test_others_are_not_asked(watched):
    world = watched.world
    world.write("1/contexts/nr_contexts", "1")
    world.write("1/contexts/0/operations", "paddr")
    world.write("1/contexts/0/targets/nr_targets", "1")
    world.write("1/contexts/0/targets/0/regions/nr_regions", "1")
    world.write("1/contexts/0/targets/0/regions/0/start", "4294967296")
    world.write("1/contexts/0/targets/0/regions/0/end", "4303355904")
    world.write("1/state", "on")
    since = len(world.machine.log)
    seen = look(watched)

    assert {each.path for each in world.machine.log[since:]} == {f"{KDAMONDS}/0/state"}
    assert [each.name for each in seen.kdamonds] == ["r/k"]


def test_goals(watched):
    first = schemes(watched)["cold"]
    assert first.goals[0].current is None
    assert "two readings" in first.goals[0].why
    assert first.score is None, "it is the largest of all goals, and one is not known"
    second = schemes(watched)["cold"]

    pressure, node = second.goals
    meminfo = watched.world.machine.read("/sys/devices/system/node/node0/meminfo")
    sizes = {line.split()[2]: int(line.split()[3]) for line in meminfo.splitlines()}
    used = sizes["MemUsed:"] * 10_000 // sizes["MemTotal:"]
    assert (pressure.current, pressure.score) == (0, 0)
    assert (node.current, node.score) == (used, used * 2)
    assert second.score == used * 2


def test_the_trend_of_the_quota_in_effect(watched):
    """Two thirds of what is wanted lets the kernel raise it; above it falls to the least."""
    assert schemes(watched)["cold"].trend is None
    text = POLICY.replace("target: 50%", "target: 90%")
    watched.put("r.yaml", text)
    watched.rest()
    seen = [schemes(watched)["cold"] for _ in range(6)]

    assert seen[-1].trend == "rising"
    assert seen[-1].effective > seen[0].effective
    seen = [schemes(watched)["cold"] for _ in range(12)]
    assert seen[-1].trend == "steady", "it has come to the size that the policy allows"
    assert seen[-1].effective == 100 << 20


UNITS = """
version: 1
name: r
kdamonds:
  - name: k
    ops: paddr
    addr_unit: 4096
    targets: [{system_ram: true}]
    schemes: [{name: seen, action: stat}]
"""


def test_sizes_are_in_bytes_whatever_unit_addresses_have(desk):
    desk.job = ObserveJob(desk.keeper, Repairer(desk.keeper))
    desk.put("r.yaml", UNITS)
    assert desk.rest().kind == "applied", desk.reloader.outcome
    desk.world.machine.sleep(5)
    seen = schemes(desk)["seen"]

    base = f"{KDAMONDS}/0/contexts/0/schemes/0/stats"
    assert seen.statistics["sz_tried"] == int(desk.read(f"{base}/sz_tried")) * 4096 > 0
    assert seen.statistics["nr_tried"] == int(desk.read(f"{base}/nr_tried"))


def test_it_waits_for_nobody(watched):
    with exclusive(watched.world.places.lock, wait=False):
        watched.job.run()
        assert watched.job.last is None
    machine = watched.world.machine
    assert machine.monotonic() < watched.job.due <= machine.monotonic() + 1
    assert look(watched) is not None
    assert machine.monotonic() + EVERY - 0.1 <= watched.job.due


def test_kdamonds_that_answer_slowly_are_asked_more_seldom(watched):
    machine = watched.world.machine
    machine.before_write = lambda *_: machine.sleep(2)
    look(watched)
    machine.before_write = None

    assert watched.job.due >= machine.monotonic() + 80


MARKS = "watermarks: {{metric: free_mem_rate, every: {every}, high: 60%, mid: 50%, low: 5%}}"
SLEEPY = """
version: 1
name: r
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: cold
        action: pageout
        access_pattern: {{access_rate: {{max: 0%}}}}
        quota: {{size: 100MiB, every: 1s, goals: [{{metric: node_mem_used_bp, node: 0, target: 50%}}]}}
        """ + MARKS  # fmt: skip


@pytest.mark.parametrize(("every", "asked"), [("10s", True), ("5m", False)])
def test_one_that_may_sleep_for_long_is_not_asked(desk, every, asked):
    desk.job = ObserveJob(desk.keeper, Repairer(desk.keeper))
    desk.put("r.yaml", SLEEPY.format(every=every))
    desk.put("s.yaml", POLICY.replace("name: r", "name: s"))
    assert desk.rest().kind == "applied", desk.reloader.outcome
    slot, since = desk.world.managed.slot_of("r/k"), len(desk.world.machine.log)
    seen = look(desk)

    assert {each.name: each.asked for each in seen.kdamonds} == {"r/k": asked, "s/k": True}
    written = {each.path for each in desk.world.machine.log[since:]}
    assert (f"{KDAMONDS}/{slot}/state" in written) == asked
    assert written


def test_one_that_does_not_answer_is_told_of_and_the_rest_is_seen(watched):
    watched.put("s.yaml", POLICY.replace("name: r", "name: s"))
    watched.rest()

    def hook(_, path, text):
        if path.startswith(f"{KDAMONDS}/0/"):
            raise TimeoutError(110, "Connection timed out", path)

    watched.world.machine.sleep(30)
    watched.world.machine.before_write = hook
    seen = look(watched)
    watched.world.machine.before_write = None

    assert "slot 0 does not answer" in watched.job.trouble
    tried = {each.name: each.schemes[1].statistics["sz_tried"] for each in seen.kdamonds}
    assert tried["r/k"] == 0
    assert tried["s/k"] > 0
    look(watched)
    assert watched.job.trouble == ""


@pytest.mark.parametrize("kernel", ["5.18", "6.1", "6.8", "6.12", "6.18"])
def test_older_kernels(kernel, tmp_path):
    """What they do not tell is left out; nothing they would refuse is written."""
    world = World.make(kernel)
    if world.machine.exists("/sys/module/damon_stat/parameters/enabled"):
        world.write("/sys/module/damon_stat/parameters/enabled", "N")
    desk = Desk(world, tmp_path / "policies")
    desk.job = ObserveJob(desk.keeper, Repairer(desk.keeper))
    lines = [line for line in POLICY.splitlines() if "metric" not in line and "goals" not in line]
    desk.put("r.yaml", "\n".join(lines))
    assert desk.rest().kind == "applied", desk.reloader.outcome
    world.machine.sleep(10)
    found = schemes(desk)

    assert desk.job.trouble == ""
    assert found["seen"].statistics["sz_tried"] > 0
    told = world.machine.exists(f"{KDAMONDS}/0/contexts/0/schemes/0/quotas/effective_bytes")
    assert (found["cold"].effective is not None) == told
    assert not world.machine.poisoned
    world.close()


def test_the_record_holds_what_took_two_looks(watched):
    world = watched.world
    follower = Follower(watched.keeper)
    feed = FeedJob(watched.keeper)
    record = RecordJob(watched.reloader, follower, feed, TuneJob(watched.keeper), watched.job)
    for _ in range(5):
        look(watched)
    record.run()
    said = json.loads(world.places.service.read_text())["schemes"]

    assert json.loads(world.places.service.read_text())["asked"] == ["r/k"]
    assert list(said) == ["r/k/cold"], "only what is tuned toward goals"
    assert said["r/k/cold"]["goals"][0] == {"current": 0, "score": 0, "why": None}
    assert said["r/k/cold"]["score"] == said["r/k/cold"]["goals"][1]["score"] > 10_000
    assert said["r/k/cold"]["trend"] == "steady"
