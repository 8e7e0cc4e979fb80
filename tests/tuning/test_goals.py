"""Measurement of the kernel's goals, on files in the kernel's form."""

from __future__ import annotations

from pathlib import Path

import pytest

from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.tuning.goals import GoalMeter, score, trend
from damonpolicy.tuning.sources import Stale

PRESSURE = (
    "some avg10=0.00 avg60=0.00 avg300=0.00 total={some}\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
)
MEMINFO = """MemTotal:        8000000 kB
MemFree:         2000000 kB
Active:          1500000 kB
Inactive:         500000 kB
Active(anon):    1400000 kB
Inactive(anon):       64 kB
"""
NODE = """Node 1 MemTotal:        4000000 kB
Node 1 MemFree:         1000000 kB
Node 1 MemUsed:         3000000 kB
"""
CGROUP = """anon N0=4096 N1=1024000000
active_anon N0=8192 N1=512000000
inactive_anon N0=0 N1=102400000
active_file N0=4096 N1=204800000
inactive_file N0=0 N1=0
unevictable N0=0 N1=999424
"""


class Copied(LiveMachine):
    """A machine's files in a directory, and a clock that a test sets."""

    now = 0.0

    def put(self, path, text):
        place = Path(self._path(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def monotonic(self):
        return self.now


@pytest.fixture
def machine(tmp_path):
    made = Copied(str(tmp_path))
    made.put("/proc/pressure/memory", PRESSURE.format(some=1000))
    made.put("/proc/meminfo", MEMINFO)
    made.put("/sys/devices/system/node/node1/meminfo", NODE)
    made.put("/sys/fs/cgroup/machine.slice/memory.numa_stat", CGROUP)
    return made


def why(meter):
    with pytest.raises(Stale) as caught:
        meter.read()
    return str(caught.value)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("node_mem_used_bp", 7500), ("node_mem_free_bp", 2500),
     ("active_mem_bp", 7500), ("inactive_mem_bp", 2500),
     ("node_memcg_used_bp", 2000), ("node_memcg_free_bp", 8000)],
)  # fmt: skip
def test_shares_of_memory(machine, metric, expected):
    assert GoalMeter(machine, metric, node=1, cgroup="/machine.slice").read() == expected


def test_pressure_is_what_it_grew_by(machine):
    meter = GoalMeter(machine, "some_mem_psi_us")
    assert "two readings" in why(meter)
    machine.now = 15
    machine.put("/proc/pressure/memory", PRESSURE.format(some=4000))

    assert meter.read() == 3000
    machine.now = 16
    assert meter.read() == 0


def test_pressure_by_the_interval_of_the_quota(machine):
    """The kernel compares what a window had with the target; we look more seldom."""
    meter = GoalMeter(machine, "some_mem_psi_us", window=1)
    why(meter)
    machine.now = 15
    machine.put("/proc/pressure/memory", PRESSURE.format(some=7000))

    assert meter.read() == 400


def test_pressure_that_is_counted_anew_is_no_number(machine):
    meter = GoalMeter(machine, "some_mem_psi_us")
    why(meter)
    machine.now = 15
    machine.put("/proc/pressure/memory", PRESSURE.format(some=10))

    assert "two readings" in why(meter)
    machine.now = 16
    assert meter.read() == 0


@pytest.mark.parametrize(
    ("metric", "node", "reason"),
    [("node_mem_used_bp", 7, "no such file"), ("node_memcg_used_bp", 0, "no such file"),
     ("node_eligible_mem_bp", 1, "only the kernel"), ("hugepage_mem_bp", 0, "only the kernel"),
     ("of_tomorrow_bp", 0, "only the kernel")],
)  # fmt: skip
def test_what_cannot_be_measured_says_why(machine, metric, node, reason):
    assert reason in why(GoalMeter(machine, metric, node=node, cgroup="/machine.slice"))


def test_the_complement_is_the_kernels_own(machine):
    assert "complement" in why(GoalMeter(machine, "active_mem_bp", complement=True))


@pytest.mark.parametrize(
    ("path", "text", "metric"),
    [("/proc/pressure/memory", "nothing\n", "some_mem_psi_us"),
     ("/proc/meminfo", "MemTotal: 5 kB\n", "active_mem_bp"),
     ("/proc/meminfo", "Active: 0 kB\nInactive: 0 kB\n", "active_mem_bp"),
     ("/sys/fs/cgroup/machine.slice/memory.numa_stat", "anon N1=x\n", "node_memcg_used_bp"),
     ("/sys/devices/system/node/node1/meminfo", "Node 1\n", "node_mem_free_bp")],
)  # fmt: skip
def test_a_file_of_another_form_is_no_number(machine, path, text, metric):
    machine.put(path, text)

    assert "in another way" in why(GoalMeter(machine, metric, node=1, cgroup="/machine.slice"))


def test_scores_are_the_kernels():
    assert score(320, 500) == 6400
    assert score(1, 3) == 3333, "rounded down"
    assert score(1500, 500) == 30_000
    assert score(7, 0) == 0, "a goal without a target counts nothing"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([1, 2, 3], None), ([10] * 4, "steady"), ([0] * 6, "steady"),
     ([1, 2, 4, 8, 16, 32], "rising"), ([32, 16, 8, 4, 2, 1], "falling"),
     ([100, 104, 98, 101, 103, 99], "steady"), ([0, 0, 0, 0, 0, 5], "rising"),
     ([10, 10, 500, 20, 20], "rising")],
)  # fmt: skip
def test_trends(values, expected):
    assert trend(values) == expected
