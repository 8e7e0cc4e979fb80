"""How far goals are, and what the service saw and did."""

from __future__ import annotations

import os

import pytest

from damonpolicy.engine.state_directory import write_json

GOALS = """
version: 1
name: tuned
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: cold
        action: pageout
        quota:
          size: 100MiB
          every: 1s
          goals:
            - {metric: some_mem_psi_us, target: 500us}
            - {metric: node_mem_used_bp, node: 1, target: 90%}
      - name: fed
        action: stat
        quota: {size: 1MiB, every: 1s, goals: [{metric: user_input, target: 200}]}
"""


@pytest.fixture
def tuned(site):
    site.world.write("/sys/module/damon_stat/parameters/enabled", "N")
    site.world.apply("tuned", text=GOALS)
    return site


def test_goals_are_shown(tuned):
    lines = tuned.done("status").out.splitlines()

    assert "    goal some_mem_psi_us: 500us" in lines
    assert "    goal node_mem_used_bp of node 1: 90%" in lines
    assert "    goal user_input: 200 of 200" in lines


def test_goals_are_measured_where_a_moment_is_enough(tuned):
    tuned.machine.sleep(5)
    outcome = tuned.json("status", "--update")["data"]["kdamonds"][0]["schemes"]
    cold, fed = outcome
    assert cold["goals"][0]["current"] is None
    assert cold["goals"][0]["why"] == "it needs two readings, which a service takes"
    assert cold["score"] is None, "it is the largest of all, and one is not known"
    node = cold["goals"][1]
    assert (node["node"], node["target"]) == (1, 9000)
    assert node["score"] == node["current"] * 10_000 // 9000
    assert (fed["goals"][0]["current"], fed["score"]) == (200, 10_000)
    assert cold["effective_quota"] > 0
    assert cold["trend"] is None
    lines = tuned.done("status", "--update").out.splitlines()
    assert (
        "    goal some_mem_psi_us: 500us (not known: it needs two readings, which a service takes)"
        in lines
    )
    assert any(
        line.startswith("    goal node_mem_used_bp of node 1: ")
        and " of 90% (score " in line and ", quota in effect " in line
        for line in lines
    )  # fmt: skip


def recorded(site, **more):
    """What a service that runs would have written."""
    goals = [
        {"current": 320, "score": 6400, "why": None},
        {"current": None, "score": None, "why": "w"},
    ]
    data = {
        "pid": os.getpid(), "start": 0, "paths": ["/etc/d"], "owner": "service:/etc/d",
        "reload": None, "reloads": {}, "following": "", "feeds": {}, "loops": {}, "observing": "",
        "drift": {"files": 0, "first": [], "repairs": 0, "cannot_repair": ""},
        "schemes": {"tuned/k/cold": {"goals": goals, "score": None, "trend": "rising"}},
        **more,
    }  # fmt: skip
    write_json(site.world.places.service, data)


def test_what_the_service_saw_is_shown(tuned):
    recorded(tuned)
    lines = tuned.done("status").out.splitlines()

    assert "    goal some_mem_psi_us: 320us of 500us (score 64%)" in lines
    (line,) = (each for each in lines if "node 1" in each)
    known, _, more = line.partition(", quota in effect ")
    assert known == "    goal node_mem_used_bp of node 1: 90% (not known: w)"
    assert more.endswith("B, rising")
    (line,) = (each for each in lines if "user_input" in each)
    assert line.startswith("    goal user_input: 200 of 200, quota in effect "), "fresh numbers"
    assert line.endswith("B"), "and no trend of what the service does not know"


def test_numbers_that_nobody_asked_for_are_old(tuned):
    recorded(tuned, unasked=["tuned/k"])
    lines = tuned.done("status").out.splitlines()
    assert any("the numbers are old: watermarks may keep it asleep" in each for each in lines)
    assert not any("quota in effect" in each for each in lines)

    lines = tuned.done("status", "--update").out.splitlines()
    assert not any("the numbers are old" in each for each in lines)
    assert any("quota in effect" in each for each in lines)


def test_what_a_service_saw_that_has_ended_is_old(tuned):
    recorded(tuned, pid=2**22 + 1)

    assert "    goal some_mem_psi_us: 500us" in tuned.done("status").out.splitlines()


def test_drift_that_the_service_saw_is_shown(tuned):
    first = {"where": "tuned/k (slot 0)", "path": "state", "committed": "on", "found": "off"}
    recorded(
        tuned,
        observing="no answer",
        drift={"files": 3, "first": [first], "repairs": 2, "cannot_repair": "why not"},
    )
    lines = tuned.done("status").out.splitlines()
    start = lines.index(f"service of /etc/d (pid {os.getpid()})")

    assert lines[start + 1 : start + 6] == [
        "  cannot observe: no answer",
        "  drift: tuned/k (slot 0): state: committed `on`, found `off`",
        "  drift: 2 more files",
        "  repaired 2 times",
        "  cannot repair: why not",
    ]
