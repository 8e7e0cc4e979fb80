"""Cgroups and nodes that go and come back: commits, left-out filters, waits."""

from __future__ import annotations

from itertools import pairwise

import pytest

from damonpolicy.base import log
from damonpolicy.daemon.jobs.follow import FollowJob
from damonpolicy.engine.session import changing
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.followed import AREA, follow, following, watched
from tests.policies import spare

WEB = "/web.slice"
MIB = 1 << 20
SPARE = spare("4GiB")
REJECT, ALLOW = "{reject: {memcg: /web.slice}}", "{allow: {memcg: /web.slice}}"
NAMED = f"{KDAMONDS}/0/contexts/0/schemes/0"


@pytest.fixture(params=["6.12", "7.3"])
def desk(request, tmp_path):
    yield from following(request.param, tmp_path / "policies")


@pytest.fixture
def events():
    """What is logged."""
    told = []
    log.set_sink(lambda level, event, values: told.append((event, values)))
    yield told
    log._sinks.clear()


def web(desk):
    machine = desk.world.machine
    return machine.start_process("web", areas=[{"size": "64MiB", "anon": True}], cgroup=WEB)


def end(desk, pid):
    desk.world.machine.exit_process(pid)
    desk.world.machine.remove_cgroup(WEB)


def applied(desk):
    """Return to how many bytes the scheme is applied each time: once in a second."""
    machine, seen = desk.world.machine, list[int]()
    for _ in range(25):
        machine.write(f"{KDAMONDS}/0/state", "update_schemes_stats")
        seen.append(int(machine.read(f"{NAMED}/stats/sz_applied")))
        machine.sleep(0.1)
    rises = [after - before for before, after in pairwise(seen) if after != before]
    return rises[1]


def within(desk, job, seconds):
    """Let the service follow for so long; it is always a little late."""
    machine = desk.world.machine
    ends = machine.monotonic() + seconds
    while machine.monotonic() < ends:
        machine.sleep(0.125)
        if job.due <= machine.monotonic():
            machine.sleep(0.01)
            job.run()


def running(desk):
    return desk.read(f"{KDAMONDS}/0/state") == "on"


class Quiet:
    """Process events of a kernel on which nobody starts, changes or ends."""

    def read(self):
        return set()


@pytest.mark.parametrize("events", [None, Quiet()], ids=["polling", "events"])
def test_a_cgroup_that_is_made_again_is_committed_within_six_seconds(desk, events):
    pid = web(desk)
    desk.put("s.yaml", SPARE.format(filters=REJECT))
    desk.rest()
    desk.follower.events = events
    job = FollowJob(desk.follower)
    within(desk, job, 11)
    spared = applied(desk)
    for _ in range(3):
        end(desk, pid)
        pid = web(desk)
        assert applied(desk) == spared + 64 * MIB

        since = len(desk.world.machine.log)
        within(desk, job, 6)
        commits = [each.text for each in desk.world.machine.log[since:]]
        assert commits == ["commit", "update_schemes_stats"], "once, and nothing is written"
        assert applied(desk) == spared
    assert desk.world.managed.generation == 1, "it is no generation"


def test_a_reject_is_left_out_while_its_cgroup_is_gone(desk, events):
    pid = web(desk)
    desk.put("s.yaml", SPARE.format(filters=REJECT))
    desk.rest()
    kdamond = desk.read(f"{KDAMONDS}/0/pid")
    desk.world.machine.sleep(1.0)
    spared = applied(desk)
    end(desk, pid)
    assert follow(desk)
    assert running(desk)
    assert ("filters left out", {"kdamond": "spare/k", "cgroups": [WEB]}) in events
    assert not follow(desk), "and that is all"

    web(desk)
    assert follow(desk)
    assert ("all is there", {"kdamond": "spare/k"}) in events
    assert applied(desk) == spared
    assert desk.read(f"{KDAMONDS}/0/pid") == kdamond


def test_an_allow_of_nothing_stops_the_kdamond_and_never_allows_all(desk, events):
    pid = web(desk)
    desk.put("s.yaml", SPARE.format(filters=ALLOW))
    desk.rest()
    assert running(desk)
    end(desk, pid)
    assert follow(desk)
    assert not desk.world.managed.slots
    assert ("waits", {"kdamond": "spare/k", "reason": f"for the cgroup `{WEB}`"}) in events
    assert not follow(desk)

    web(desk)
    assert follow(desk)
    assert running(desk)
    assert not follow(desk)


def test_a_missing_cgroup_concerns_its_own_kdamond_alone(desk, events):
    """Of a selector and of a filter: others are applied, changed, and it starts when it comes."""
    desk.put("a.yaml", SPARE.format(filters=REJECT).replace("name: spare", "name: other"))
    desk.put("w.yaml", f"""\
version: 1
name: watch
kdamonds:
  - name: k
    ops: vaddr
    targets: [{{process: {{cgroup: {WEB}}}}}]
    schemes: [{{name: s, action: stat}}]
""")  # fmt: skip
    outcome = desk.rest()
    assert outcome.kind == "applied"
    assert {each.code for each in outcome.diagnostics if each.severity == "warning"} >= {"DP0303"}
    assert ("waits", {"kdamond": "watch/k", "reason": f"for the cgroup `{WEB}`"}) in events
    assert [each.kdamond for each in desk.world.managed.slots.values()] == ["other/k"]

    text = SPARE.format(filters=REJECT).replace("name: spare", "name: other")
    desk.put("a.yaml", text.replace("4GiB", "1MiB"))
    assert desk.rest().kind == "applied"
    assert desk.read(f"{NAMED}/quotas/bytes") == str(MIB)

    machine = desk.world.machine
    pid = machine.start_process("web", areas=[AREA], cgroup=WEB)
    assert follow(desk)
    assert watched(desk, desk.world.managed.slot_of("watch/k")) == {pid}
    end(desk, pid)
    follow(desk)
    assert desk.world.managed.slot_of("watch/k") is None
    assert desk.world.managed.slot_of("other/k") is not None


def test_a_rollback_to_what_the_service_applied_waits_as_the_service_does(desk):
    pid = web(desk)
    desk.put("s.yaml", SPARE.format(filters=ALLOW))
    desk.rest()
    desk.put("s.yaml", SPARE.format(filters=ALLOW).replace("4GiB", "1MiB"))
    desk.rest()
    end(desk, pid)
    with changing(desk.world.machine, desk.world.places) as session:
        session.roll_back(1, Terms("test"))
    assert not desk.world.managed.slots
    web(desk)
    assert follow(desk)
    assert desk.read(f"{NAMED}/quotas/bytes") == str(4 << 30)


GOAL = """\
version: 1
name: goal
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: s
        action: stat
        quota:
          {size: 1MiB, every: 1s, goals: [GOAL]}
"""
OF_NODE = "{metric: node_mem_used_bp, node: 1, target: 5%}"
OF_CGROUP = "{metric: node_memcg_used_bp, node: 0, cgroup: /web.slice, target: 5%}"


@pytest.fixture
def newest(tmp_path):
    yield from following("7.3", tmp_path / "policies")


def test_a_kdamond_stops_when_the_cgroup_of_its_goal_goes(newest):
    newest.world.machine.make_cgroup(WEB)
    newest.put("g.yaml", GOAL.replace("GOAL", OF_CGROUP))
    newest.rest()
    for there in (True, False, True):
        if not there:
            newest.world.machine.remove_cgroup(WEB)
        elif not newest.world.machine.exists(f"/sys/fs/cgroup{WEB}"):
            newest.world.machine.make_cgroup(WEB)
        follow(newest)
        assert bool(newest.world.managed.slots) is there


def test_a_kdamond_stops_when_the_node_of_its_goal_goes_offline(newest, monkeypatch):
    """The kernel would look the node up each time, and older ones end there."""
    newest.put("g.yaml", GOAL.replace("GOAL", OF_NODE))
    newest.rest()
    assert newest.world.managed.slots
    with monkeypatch.context() as patch:
        patch.setattr("damonpolicy.kernel.system.numa.nodes", lambda machine: (0,))
        assert follow(newest)
        assert not newest.world.managed.slots
    assert follow(newest)
    assert newest.world.managed.slots


def test_a_look_that_is_late_puts_off_no_other(newest, monkeypatch):
    """At cgroups each five seconds, also where process events leave nothing else to do."""
    machine, looks = newest.world.machine, []
    real = type(newest.follower).look

    def look(follower, *, everything):
        looks.append((machine.monotonic(), everything))
        return real(follower, everything=everything)

    monkeypatch.setattr(type(newest.follower), "look", look)
    newest.follower.events = Quiet()
    job = FollowJob(newest.follower)
    for late in (0.75, 0.5, 0.25, 0.0):
        machine.sleep(max(job.due - machine.monotonic(), 0.0) + late)
        job.run()

    times = [at for at, everything in looks if everything]
    assert max(after - before for before, after in pairwise(times)) < 6
