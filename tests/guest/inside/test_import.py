"""`import` on real kernels: random configurations, and those that damo makes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from damonpolicy.emulated.profiles import find
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import configuration, slot_tree, snapshot, startable
from damonpolicy.kernel.system.machine import KDAMONDS, LiveMachine
from damonpolicy.plan.normal import in_effect
from damonpolicy.policy.importer.policy import Imported, Source, policy
from tests.property.configurations import Writer

from .cgroups import ROOT
from .patient import Patient
from .policy import run

SERIES = ".".join(platform.release().split(".")[:2])
SEEDS = range(100, 112)
TREES = 2

DAMO = {
    "paddr": ("--ops", "paddr"),
    "processes": ("--target_pid", "PID", "--damos_action", "pageout", "--damos_access_rate", "0%", "0%",
        "--damos_age", "2m", "max"),
    "goals": ("--ops", "paddr", "--regions", "1048576-1073741824", "--damos_action", "pageout",
        "--damos_access_rate", "0%", "0%", "--damos_age", "2m", "max", "--damos_sz_region", "4K", "max",
        "--damos_quotas", "10ms", "64MiB", "1000ms", "0", "1", "1",
        "--damos_quota_goal", "some_mem_psi_us", "500", "--damos_filter", "reject", "young"),
    "watermarks": ("--ops", "paddr", "--monitoring_intervals", "10ms", "200ms", "2s",
        "--monitoring_nr_regions_range", "20", "500", "--damos_action", "lru_deprio",
        "--damos_wmarks", "free_mem_rate", "5s", "50%", "40%", "20%",
        "--damos_quotas", "0ms", "1GiB", "10s", "0", "0", "0"),
    "schemes": ("--target_pid", "PID", "--damos_action", "stat", "--damos_access_rate", "10%", "50%",
        "--damos_apply_interval", "3s", "--damos_action", "willneed"),
    "tuned-intervals": ("--ops", "paddr", "--monitoring_intervals_goal", "4%", "3", "5ms", "10s"),
    "node-goal": ("--ops", "paddr", "--damos_action", "pageout", "--damos_quotas", "0ms", "64MiB", "1s",
        "0", "1", "1", "--damos_quota_goal", "node_mem_used_bp", "99.5%", "0"),
    "tuner": ("--ops", "paddr", "--damos_action", "pageout", "--damos_quotas", "0ms", "64MiB", "1s",
        "0", "1", "1", "--damos_quota_goal", "node_mem_free_bp", "0.5%", "1",
        "--damos_quota_goal_tuner", "temporal"),
    "fail-charge": ("--ops", "paddr", "--damos_action", "pageout", "--damos_quotas", "0ms", "64MiB", "1s",
        "0", "1", "1", "--damos_quota_fail_charge_ratio", "1", "10"),
    "migrate": ("--ops", "paddr", "--damos_action", "migrate_cold", "1", "--damos_access_rate", "0%", "0%",
        "--damos_quotas", "0ms", "64MiB", "1s", "0", "1", "1"),
    "destinations": ("--target_pid", "PID", "--damos_action", "migrate_hot", "0", "3", "1", "1",
        "--damos_quotas", "0ms", "64MiB", "1s", "0", "1", "1"),
    "probes": ("--ops", "paddr", "--probe_filter", "allow", "anon"),
    "weights": ("--ops", "paddr", "--probe_filter", "allow", "anon", "--probe_weight", "3"),
}  # fmt: skip
NEEDS = {
    "tuned-intervals": "intervals.auto_tune",
    "node-goal": "quota.goal.node",
    "tuner": "quota.tuner",
    "fail-charge": "quota.fail_charge",
    "migrate": "scheme.target_nid",
    "destinations": "migrate.destinations",
    "probes": "probes",
    "weights": "probe.weight",
}
"""Where the kernel lacks it, damo says so and leaves it out."""


@pytest.fixture
def sleepers() -> Iterator[list[int]]:
    """Three processes that kdamonds could look at."""
    started = [subprocess.Popen(["/bin/sleep", "1000"]) for _ in range(3)]
    try:
        yield [each.pid for each in started]
    finally:
        for each in started:
            each.kill()
            each.wait()


@pytest.fixture
def cgroups() -> Iterator[list[str]]:
    """The root and a cgroup with the memory controller."""
    (ROOT / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    made = ROOT / "imported"
    made.mkdir()
    try:
        yield ["/", "/imported"]
    finally:
        made.rmdir()


@pytest.fixture
def machine() -> Iterator[LiveMachine]:
    """The live kernel; nothing of a test stays behind."""
    made = Patient()
    try:
        yield made
    finally:
        run("stop", "--all")
        for slot, text in _states(made).items():
            if text == "on":
                made.write(f"{KDAMONDS}/{slot}/state", "off")
        made.write(f"{KDAMONDS}/nr_kdamonds", "0")


def _states(machine: LiveMachine) -> dict[int, str]:
    tree = snapshot(machine)
    return {slot: tree[f"{slot}/state"] for slot in range(int(tree["nr_kdamonds"]))}


def _trees(machine: LiveMachine) -> list[dict[str, str]]:
    tree = snapshot(machine)
    own = [slot_tree(tree, slot) for slot in range(int(tree["nr_kdamonds"]))]
    return [
        configuration(startable(in_effect(each)))  # what bounds nothing counts as alike
        for each in own
        if each["contexts/nr_contexts"] == "1"
    ]


def _import(machine: LiveMachine) -> Imported:
    tree = snapshot(machine)
    sources = [
        Source(f"slot {slot}", f"k{slot}", slot_tree(tree, slot))
        for slot in range(int(tree["nr_kdamonds"]))
    ]
    return policy(sources, "imported", detect(machine, tree), machine)


def test_configurations_by_chance_come_back(
    machine: LiveMachine, sleepers: list[int], cgroups: list[str]
) -> None:
    """By compiling again; what then is applied is the business of the next test."""
    for seed in SEEDS:
        machine.write(f"{KDAMONDS}/nr_kdamonds", str(TREES))
        for slot in range(TREES):
            Writer(machine, find(SERIES), seed, slot, sleepers, cgroups).kdamond()
        found = _import(machine)

        assert found.differences == (), (seed, found.text)
        assert {each.severity for each in found.found} <= {"warning"}, (seed, found)


def test_the_same_bytes_are_there_after_applying(
    machine: LiveMachine, sleepers: list[int], cgroups: list[str], tmp_path: Path
) -> None:
    """Staged by plain writes, imported, wiped, applied: every byte is as it was."""
    for seed in SEEDS[:3]:
        machine.write(f"{KDAMONDS}/nr_kdamonds", "1")
        Writer(machine, find(SERIES), seed, 0, sleepers, cgroups).kdamond()
        before = _trees(machine)
        path = tmp_path / f"imported-{seed}.yaml"
        printed = run("import")
        path.write_text(printed.out, encoding="utf-8")
        machine.write(f"{KDAMONDS}/nr_kdamonds", "0")
        applied = run("apply", path, "--unfed")

        assert applied.code == 0, (printed, applied)
        assert _trees(machine) == before, printed.out
        assert run("remove", "imported").code == 0
        machine.write(f"{KDAMONDS}/nr_kdamonds", "0")


@pytest.mark.parametrize("name", DAMO)
def test_what_damo_made_comes_back(
    machine: LiveMachine, sleepers: list[int], name: str, tmp_path: Path
) -> None:
    """Started by damo, imported, stopped, applied: every byte is as damo wrote it."""
    if name in NEEDS and not find(SERIES).has(NEEDS[name]):
        pytest.skip(f"no {NEEDS[name]}")
    peer = os.environ["DAMONPOLICY_PEER"]
    words = [str(sleepers[0]) if word == "PID" else word for word in DAMO[name]]
    started = subprocess.run(
        [sys.executable, f"{peer}/bin/damo", "start", *words],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": peer, "HOME": "/run"},
        check=False,
    )  # fmt: skip
    assert started.returncode == 0, (started.stdout, started.stderr)
    before = _trees(machine)
    found = _import(machine)
    assert before
    assert found.differences == (), found.text

    path = tmp_path / "imported.yaml"
    path.write_text(found.text, encoding="utf-8")
    machine.write(f"{KDAMONDS}/0/state", "off")
    machine.write(f"{KDAMONDS}/nr_kdamonds", "0")
    applied = run("apply", path)

    assert applied.code == 0, applied
    assert _trees(machine) == before, found.text
