"""Whatever the kernel refuses, the error names the line that asked for it."""

from __future__ import annotations

import re

import pytest

from damonpolicy.base.errors import ExitCode
from tests.engine.site import Site, refuses

PLACE = re.compile(r"(\S+): error\[DP0509\]: writing `(.*?)` to `(\S+?)`")
POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: 1}]
    intervals: {sample: 7ms, aggregation: 140ms}
    region_count: {max: 100}
    probes:
      - {name: anons, filters: [{allow: anon}]}
    schemes:
      - name: s
        action: migrate_cold
        to: 0
        access_pattern:
          access_rate: {max: 5%}
          age: {min: 30s}
        quota:
          size: 1MiB
          every: 1s
          goals: [{metric: node_mem_free_bp, node: 1, target: 5%}]
        filters:
          - reject: {memcg: /machine.slice}
        watermarks: {metric: free_mem_rate, every: 5s, high: 50%, mid: 40%, low: 20%}
  - name: v
    ops: vaddr
    targets:
      - process: {name: nginx}
settings:
  /proc/sys/vm/swappiness: 70
  /sys/module/damon_stat/parameters/enabled: N
"""
MODULES = """\
version: 1
name: m
modules:
  damon_reclaim:
    enabled: true
    min_age: 30s
settings:
  /sys/module/damon_stat/parameters/enabled: N
"""
EXPECTED = {
    "0/contexts/0/monitoring_attrs/intervals/sample_us": 7,
    "0/contexts/0/monitoring_attrs/nr_regions/max": 8,
    "0/contexts/0/monitoring_attrs/probes/nr_probes": 9,
    "0/contexts/0/targets/0/regions/0/start": 6,
    "0/contexts/0/schemes/0/action": 13,
    "0/contexts/0/schemes/0/target_nid": 14,
    "0/contexts/0/schemes/0/access_pattern/nr_accesses/max": 16,
    "0/contexts/0/schemes/0/access_pattern/age/min": 17,
    "0/contexts/0/schemes/0/quotas/goals/0/target_metric": 21,
    "0/contexts/0/schemes/0/ops_filters/0/memcg_path": 22,
    "0/contexts/0/schemes/0/watermarks/mid": 24,
    "0/state": 4,
    "1/contexts/0/targets/0/pid_target": 27,
    "1/state": 25,
    "nr_kdamonds": 3,
    "/proc/sys/vm/swappiness": 30,
    "/sys/module/damon_stat/parameters/enabled": 31,
}


def blamed(site, text, number):
    """Apply with the number-th write refused; returns the line, and the file of the write."""
    policy = site.policy("p", text)
    with pytest.MonkeyPatch.context() as patch:
        refuses(patch, number)
        outcome = site.run("apply", policy)
    assert outcome.code == ExitCode.ROLLED_BACK, outcome.err
    found = PLACE.search(outcome.err)
    assert found, outcome.err
    file, line, column = found[1].rsplit(":", 2)
    assert (file, int(column) > 0) == (policy, True)
    return found[3], int(line)


@pytest.mark.parametrize("text", [POLICY, MODULES], ids=["kdamonds", "modules"])
def test_every_operation_that_is_refused_names_its_line(text):
    site = Site("7.3")
    plan = site.json("plan", site.policy("p", text))["data"]["operations"]
    paths = list(dict.fromkeys(each["path"] for each in plan))
    seen = dict(blamed(site, text, path) for path in paths)
    lines = len(text.splitlines())
    site.close()

    assert len(seen) == len(paths)
    assert all(1 < line <= lines for line in seen.values()), seen
    if text == POLICY:
        assert {path: seen.get(path) for path in EXPECTED} == EXPECTED
    else:
        assert seen["/sys/module/damon_reclaim/parameters/min_age"] == 6


def test_a_saved_plan_and_a_generation_name_the_line_in_the_policy_of_then(monkeypatch):
    site = Site("7.3")
    site.done("apply", site.policy("p", POLICY))
    site.done("apply", site.policy("p", POLICY.replace("swappiness: 70", "swappiness: 80")))
    saved = site.directory / "plan.json"
    changed = site.policy("p", POLICY.replace("swappiness: 70", "swappiness: 90"))
    assert site.run("plan", "--out", str(saved), changed).code == ExitCode.CHANGES
    refuses(monkeypatch, "/proc/sys/vm/swappiness")
    by_plan, back = site.run("apply", "--plan", str(saved)), site.run("rollback")
    site.close()

    assert "policy p:30:3: error[DP0509]" in by_plan.err
    assert "swappiness: 90" in by_plan.err
    assert "policy p:30:3: error[DP0509]" in back.err
    assert "swappiness: 70" in back.err
    assert by_plan.code == back.code == ExitCode.ROLLED_BACK
