"""`report numa`: the matrix, the placement, and data about processes."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import format_cpulist
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.memory import node_ram
from damonpolicy.kernel.system.numa import cpus_of
from damonpolicy.plan.facts import Target
from tests.cli.commands.reports.given import Source, report, series
from tests.observe.facts import counting

MIB = 1 << 20


@pytest.fixture
def machine():
    return EmulatedMachine.create("7.3")


@pytest.fixture
def ram(machine):
    """Where each node's RAM begins that has room for the regions of these tests."""
    return [node_ram(machine, node)[-1][0] for node in (0, 1)]


def source(machine, node, kind="all"):
    cpus = format_cpulist(cpus_of(machine, node))
    return Source(f"numa/{node}", ops="paddr", accesses=counting(f"{kind} of CPUs {cpus}"))


@pytest.fixture
def crossing(machine, ram):
    return [
        series(
            source(machine, 0),
            (ram[0], ram[0] + 3 * MIB, 2, 0), (ram[1], ram[1] + MIB, 1, 0),
        ),
        series(source(machine, 1), (ram[1], ram[1] + MIB, 1, 0)),
    ]  # fmt: skip


def test_hits_and_misses(monkeypatch, machine, crossing):
    result = report(monkeypatch, "numa", crossing, machine=machine)
    lines = result.text.splitlines()
    assert lines[0] == "accesses by node of CPUs and node of memory"
    # of 3 MiB in 2 samples and twice 1 MiB in 1, each in a tenth of a second
    assert "60MiB/s  75.0% hit" in lines[3]
    assert "10MiB/s  12.5%    " in lines[3]
    assert "10MiB/s  12.5% hit" in lines[4]
    assert lines[-1] == "hits 87.5%, misses 12.5% of 80MiB/s"
    assert len({len(line.rstrip()) for line in lines[2:5]}) == 1


def test_the_document_of_the_matrix(monkeypatch, machine, crossing):
    data = report(monkeypatch, "numa", crossing, machine=machine).data
    assert list(data) == [
        "idle_for_us", "hot_percent", "matrices", "placements", "processes", "notes",
    ]  # fmt: skip
    (matrix,) = data["matrices"]
    assert list(matrix) == [
        "accesses", "rows", "bytes_per_second", "hit_share", "miss_share", "unknown_share",
    ]  # fmt: skip
    assert matrix["hit_share"] + matrix["miss_share"] + matrix["unknown_share"] == 1
    first = matrix["rows"][0]
    assert first["memory"] == [
        {"memory_node": 0, "bytes_per_second": 60.0 * MIB, "share": 0.75},
        {"memory_node": 1, "bytes_per_second": 10.0 * MIB, "share": 0.125},
    ]
    assert (first["cpu_node"], first["kdamonds"]) == (0, ["numa/0"])
    assert first["hit_share"] == pytest.approx(6 / 7)
    assert (data["placements"], data["processes"], data["notes"]) == ([], [], [])


def test_without_cpu_sampling_hot_and_cold_bytes_are_placed(monkeypatch, machine, ram):
    found = [
        series(
            Source("tier/all", ops="paddr", accesses=counting("all")),
            (ram[0], ram[0] + 3 * MIB, 12, 0),
            (ram[1], ram[1] + MIB, 2, 0),
            (ram[1] + MIB, ram[1] + 5 * MIB, 0, 1500),
        )
    ]
    result = report(monkeypatch, "numa", found, machine=machine)
    (placed,) = result.data["placements"]
    amounts = [
        (each["node"], each["hot_bytes"], each["warm_bytes"], each["cold_bytes"])
        for each in placed["nodes"]
    ]
    assert amounts == [(0, 3 * MIB, 0, 0), (1, 0, MIB, 4 * MIB)]
    assert sum(each["seen_bytes"] for each in placed["nodes"]) == 8 * MIB
    assert "hot from 50%, cold after 2m" in result.text
    assert "not known which node's CPUs touch what" in result.text
    hotter = report(monkeypatch, "numa", found, "--hot", "70%", machine=machine).data
    assert [each["hot_bytes"] for each in hotter["placements"][0]["nodes"]] == [0, 0]


def test_a_record_is_mapped_by_the_nodes_of_this_machine(monkeypatch, machine, ram):
    found = [series(Source("k", ops="paddr"), (ram[0], ram[0] + MIB, 1, 0))]
    result = report(monkeypatch, "numa", found, "rec", machine=machine)
    assert "nodes are this machine's" in result.text
    assert result.data["placements"][0]["accesses"] == "all"


def test_of_processes_the_kernel_tells_where_pages_lie(monkeypatch, tmp_path):
    proc = tmp_path / "proc" / "42"
    proc.mkdir(parents=True)
    (proc / "status").write_text("Name:\tvm\nVmSize:\t1 kB\nUid:\t0\t0\t0\t0\n")
    (proc / "comm").write_text("vm\n")
    (proc / "stat").write_text("42 (vm) " + "0 " * 50)
    (proc / "numa_maps").write_text("7f00 default anon=3 N0=256 N1=512 kernelpagesize_kB=4\n")
    found = [
        series(Source("k", ops="vaddr", targets=(Target(42), Target(43))), (0, MIB, 1, 0, 0)),
    ]
    result = report(monkeypatch, "numa", found, machine=LiveMachine(str(tmp_path)))
    assert result.data["processes"] == [
        {
            "pid": 42,
            "comm": "vm",
            "nodes": [{"node": 0, "bytes": MIB}, {"node": 1, "bytes": 2 * MIB}],
            "bytes": 3 * MIB,
        }
    ]
    assert "pid 42 (vm)    1MiB    2MiB      3MiB\n" in result.text
    assert "no more is known than where their pages lie" in result.text


def test_nothing_was_seen(monkeypatch, machine):
    result = report(monkeypatch, "numa", [], machine=machine)
    assert (
        result.text
        == "no regions of physical memory were seen: a kdamond with `ops: paddr` would show them\n"
    )


def test_cpus_that_accessed_nothing(monkeypatch, machine):
    result = report(monkeypatch, "numa", [series(source(machine, 0))], machine=machine)
    assert result.data["matrices"][0]["hit_share"] is None
    assert "hits" not in result.text


def test_a_share_has_a_unit(monkeypatch):
    with pytest.raises(UsageError, match=r"`--hot`: `50` has no unit"):
        report(monkeypatch, "numa", [], "--hot", "50")
