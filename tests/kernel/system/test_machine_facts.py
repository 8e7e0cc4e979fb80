"""Memory, nodes, CPUs, cgroups, pressure and the host itself, from files as they really look."""

from __future__ import annotations

import os

import pytest

from damonpolicy.base.errors import NoPermission
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system import cgroups, host, memory, numa
from damonpolicy.kernel.system.psi import has_pressure
from tests.guest.copied import copied

IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-3fffffff : System RAM
  01000000-01ffffff : Kernel code
  02000000-02ffffff : System RAM
40000000-4fffffff : System RAM (kmem)
fd000000-fdffffff : PCI Bus 0000:00
100000000-23fffffff : System RAM
240000000-2bfffffff : Persistent Memory
"""
RAM = [(0x1000, 0x9FC00), (0x100000, 0x50000000), (0x100000000, 0x240000000)]
NODE = "/sys/devices/system/node"
ZONES = """\
Node 0, zone      DMA
  pages free     3840
        min      8
        spanned  4095
        present  3998
  start_pfn:           1
Node 0, zone    DMA32
        spanned  1044480
  start_pfn:           4096
Node 1, zone   Normal
        spanned  1310720
  start_pfn:           1048576
Node 1, zone  Movable
        spanned  0
  start_pfn:           0
"""


def test_system_ram_is_the_top_level_only(tmp_path):
    machine = copied(tmp_path, {"/proc/iomem": IOMEM})

    assert memory.system_ram(machine) == RAM


def test_hidden_addresses_are_no_memory(tmp_path):
    hidden = "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n"

    with pytest.raises(NoPermission, match="no addresses"):
        memory.system_ram(copied(tmp_path, {"/proc/iomem": hidden}))


def test_a_machine_without_iomem_has_none(tmp_path):
    assert memory.system_ram(copied(tmp_path, {})) == []


def test_memory_blocks_tell_the_node(tmp_path):
    machine = copied(
        tmp_path,
        {
            "/proc/iomem": IOMEM,
            "/proc/zoneinfo": ZONES,
            "/sys/devices/system/memory/block_size_bytes": "8000000\n",
            f"{NODE}/node0/memory0/state": "online\n",
            f"{NODE}/node0/memory1/state": "online\n",
            f"{NODE}/node1/memory32/state": "online\n",
            f"{NODE}/node1/memory_failure/total": "0\n",
        },
    )

    assert memory.node_ram(machine, 0) == [(0x1000, 0x9FC00), (0x100000, 0x10000000)]
    assert memory.node_ram(machine, 1) == [(0x100000000, 0x108000000)]
    assert memory.node_ram(machine, 2) == []


def test_without_blocks_the_zones_do(tmp_path):
    machine = copied(tmp_path, {"/proc/iomem": IOMEM, "/proc/zoneinfo": ZONES})

    assert memory.node_ram(machine, 0) == RAM[:2]
    assert memory.node_ram(machine, 1) == RAM[2:]


def test_ranges_unite():
    assert memory.united([(5, 7), (1, 3), (3, 5), (2, 4), (9, 10)]) == [(1, 7), (9, 10)]
    assert memory.united([(1, 9), (2, 3)]) == [(1, 9)]


def test_nodes_and_cpus_of_the_emulated_machine():
    machine = EmulatedMachine.create("7.3")

    assert numa.nodes(machine) == (0, 1)
    assert numa.cpus_of(machine, 1) == (2, 3)
    assert numa.cpus_of(machine, 7) == ()
    assert numa.online_cpus(machine) == numa.possible_cpus(machine) == (0, 1, 2, 3)


def test_what_is_missing_has_a_sensible_default(tmp_path):
    bare = copied(tmp_path / "bare", {})
    assert numa.nodes(bare) == (0,)
    assert numa.online_cpus(bare) == numa.possible_cpus(bare) == (0,)

    machine = copied(
        tmp_path / "some",
        {
            f"{NODE}/node0/cpulist": "\n",
            f"{NODE}/node3/cpulist": "0-1,4\n",
            f"{NODE}/power/x": "",
            "/sys/devices/system/cpu/online": "0,2-3\n",
        },
    )
    assert numa.nodes(machine) == (0, 3)
    assert numa.cpus_of(machine, 0) == ()
    assert numa.cpus_of(machine, 3) == (0, 1, 4)
    assert numa.possible_cpus(machine) == (0, 2, 3)


def test_a_subtree_is_every_cgroup_whose_memory_counts():
    machine = EmulatedMachine.create("7.3")
    machine.make_cgroup("/machine.slice/idle", memory=False)
    machine.make_cgroup("/machine.slice/vm-1.scope/inner")

    assert cgroups.subtree(machine, "machine.slice/") == [
        "/machine.slice",
        "/machine.slice/vm-1.scope",
        "/machine.slice/vm-2.scope",
        "/machine.slice/vm-1.scope/inner",
    ]
    assert cgroups.subtree(machine, "/nowhere") == []
    assert "/machine.slice/vm-1.scope/inner" in cgroups.subtree(machine, "/")
    assert cgroups.exists(machine, "/machine.slice/idle")
    assert not cgroups.has_memory(machine, "/machine.slice/idle")
    assert not cgroups.exists(machine, "/machine")
    assert cgroups.children(machine, "/nowhere") == []


def test_memory_is_a_word_of_its_own(tmp_path):
    machine = copied(tmp_path, {"/sys/fs/cgroup/x/cgroup.controllers": "cpu hugememory pids\n"})

    assert cgroups.exists(machine, "/x")
    assert not cgroups.has_memory(machine, "/x")


def test_pressure_is_measured_or_not(tmp_path):
    line = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"

    assert has_pressure(copied(tmp_path / "on", {"/proc/pressure/memory": line}))
    assert not has_pressure(copied(tmp_path / "empty", {"/proc/pressure/memory": ""}))
    assert not has_pressure(copied(tmp_path / "off", {}))


def test_the_host_and_its_namespaces(tmp_path):
    machine = copied(
        tmp_path,
        {
            "/proc/sys/kernel/random/boot_id": "b-1\n",
            "/proc/sys/kernel/osrelease": "6.12.1\n",
            "/proc/self/ns/pid": "-> pid:[4026531836]",
            "/proc/self/ns/cgroup": "-> cgroup:[4026532999]",
        },
    )
    found = host.look(machine)

    assert (found.boot_id, found.release) == ("b-1", "6.12.1")
    assert found.namespaces == ("cgroup",)
    assert host.look(copied(tmp_path / "bare", {})).namespaces == ()
    assert host.look(EmulatedMachine.create("6.18")).namespaces == ()


def test_modules_whose_kdamond_runs(tmp_path):
    machine = copied(
        tmp_path,
        {
            "/sys/module/damon_stat/parameters/enabled": "Y\n",
            "/sys/module/damon_reclaim/parameters/enabled": "N\n",
        },
    )

    assert host.busy_modules(machine) == ["damon_stat"]


def test_the_cpu_time_of_a_process(tmp_path):
    """Its name may hold blanks and parentheses; ticks are those of this machine."""
    before, after = "7 (a) b (c) S 2 0 0 0 -1 2129984 0 0 0 0", "0 0 20 0 1 0 99 0 0\n"
    machine = copied(
        tmp_path, {"/proc/7/stat": f"{before} 150 350 {after}", "/proc/8/stat": "8 (x"}
    )
    ticks = os.sysconf("SC_CLK_TCK")

    assert host.cpu_seconds(machine, 7) == 500 / ticks
    assert host.starts(machine, 7) == 99
    assert host.cpu_seconds(machine, 8) is None
    assert host.cpu_seconds(machine, 9) is None
