"""Cgroups by their identity: kernels look a path up once, at a start or a commit."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.kernel.system.memory import node_ram

WEB, OTHER = "/web.slice", "/other.slice"
MIB = 1 << 20
AREA = {"size": "64MiB", "anon": True}
SCHEME = f"{KDAMONDS}/0/contexts/0/schemes/0"


@pytest.fixture(params=["6.12", "7.3"])
def machine(request):
    made = EmulatedMachine.create(
        request.param, spec={"nodes": [{"memory": "2GiB", "cpus": "0"}], "root": True}
    )
    yield made
    assert not made.poisoned


def put(machine, path, text):
    machine.write(f"{KDAMONDS}/{path}", text)


def start(machine, **files):
    """Run one scheme on all memory; ``files`` are below its directory."""
    if machine.exists("/sys/module/damon_stat/parameters/enabled"):
        machine.write("/sys/module/damon_stat/parameters/enabled", "N")
    for path, text in (
        ("nr_kdamonds", "1"),
        ("0/contexts/nr_contexts", "1"),
        ("0/contexts/0/operations", "paddr"),
        ("0/contexts/0/targets/nr_targets", "1"),
        ("0/contexts/0/targets/0/regions/nr_regions", "1"),
        ("0/contexts/0/targets/0/regions/0/end", str(2 << 30)),
        ("0/contexts/0/schemes/nr_schemes", "1"),
    ):
        put(machine, path, text)
    for path, text in files.items():
        machine.write(f"{SCHEME}/{path.replace('__', '/')}", text)
    put(machine, "0/state", "on")


def paged_out(machine):
    """Return how many bytes the scheme was applied to in the next second."""
    seen = []
    for _ in range(2):
        put(machine, "0/state", "update_schemes_stats")
        seen.append(int(machine.read(f"{SCHEME}/stats/sz_applied")))
        machine.sleep(1.0)
    return seen[1] - seen[0]


REJECTING = {
    "action": "pageout",
    "access_pattern__sz__max": str(1 << 40),
    "access_pattern__nr_accesses__max": "0",
    "access_pattern__age__max": str(1 << 20),
    "filters__nr_filters": "1",
    "filters__0__type": "memcg",
    "filters__0__matching": "Y",
    "filters__0__memcg_path": WEB,
}


def remade(machine, pid):
    machine.exit_process(pid)
    machine.remove_cgroup(WEB)
    machine.make_cgroup(WEB)
    return machine.start_process("web", areas=[AREA], cgroup=WEB)


def test_a_filter_spares_the_cgroup_that_was_committed_and_no_later_one_of_its_path(machine):
    pid = machine.start_process("web", areas=[AREA], cgroup=WEB)
    start(machine, **REJECTING)
    machine.sleep(1.0)
    assert paged_out(machine) == 0

    remade(machine, pid)
    assert paged_out(machine) >= 64 * MIB, "its files say the same, and it matches nothing"
    put(machine, "0/state", "commit")
    assert paged_out(machine) == 0


def test_each_cgroup_has_an_inode_number_of_its_own(machine):
    machine.make_cgroup(WEB)
    first = machine.identity(f"/sys/fs/cgroup{WEB}")
    machine.make_cgroup(OTHER)
    machine.remove_cgroup(WEB)
    machine.make_cgroup(WEB)

    numbers = [first, *(machine.identity(f"/sys/fs/cgroup{path}") for path in ("", WEB, OTHER))]
    assert 0 not in numbers
    assert len(set(numbers)) == 4
    assert machine.identity(f"/sys/fs/cgroup{WEB}/cgroup.procs") == 0
    with pytest.raises(FileNotFoundError):
        machine.identity("/sys/fs/cgroup/none")


def test_a_goal_measures_the_cgroup_that_was_committed():
    machine = EmulatedMachine.create(
        "7.3", spec={"nodes": [{"memory": "1GiB", "cpus": "0"}], "root": True}
    )
    machine.make_cgroup(WEB)
    start(
        machine, quotas__bytes=str(1 << 30), quotas__reset_interval_ms="1000",
        quotas__goals__nr_goals="1", quotas__goals__0__target_metric="node_memcg_used_bp",
        quotas__goals__0__target_value="1000", quotas__goals__0__nid="0",
        quotas__goals__0__path=WEB, access_pattern__sz__max=str(1 << 40),
        access_pattern__nr_accesses__max="100", access_pattern__age__max=str(1 << 20),
    )  # fmt: skip

    def quota():
        for _ in range(20):
            machine.sleep(1.0)
            put(machine, "0/state", "update_schemes_effective_quotas")
        return int(machine.read(f"{SCHEME}/quotas/effective_bytes"))

    rising = quota()
    machine.remove_cgroup(WEB)
    machine.make_cgroup(WEB)
    machine.start_process("web", areas=[{"size": "512MiB"}], cgroup=WEB)
    assert quota() > rising, "what was committed holds nothing still"
    put(machine, "0/state", "commit_schemes_quota_goals")
    assert quota() < rising
    assert not machine.poisoned


def test_cgroups_tell_the_pressure_on_them(machine):
    machine.make_cgroup(WEB)

    for name in ("cpu", "io", "memory"):
        text = machine.read(f"/sys/fs/cgroup{WEB}/{name}.pressure")
        assert text.splitlines()[0] == "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"


def test_a_large_first_node_has_the_hole_below_4_gib():
    machine = EmulatedMachine.create("7.3", spec={"nodes": [{"memory": "6GiB", "cpus": "0"}]})
    found = node_ram(machine, 0)

    assert found[-2:] == [(1 << 20, 3 << 30), (4 << 30, 7 << 30)]
    assert "c0000000" not in machine.read("/proc/iomem")
