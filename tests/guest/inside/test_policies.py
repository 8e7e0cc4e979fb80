"""Each shipped policy does its job on a real kernel, on what it selects and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cgroups import cgroup
from .memory import merged, no_balancing, pages, zram_swap
from .policy import KDAMONDS, MIB, has, look, run, shipped, state, wait_for, write
from .workload import Range, Workload

FAST = {"sample": "5ms", "aggregation": "100ms", "cold_for": "1s"}


@pytest.fixture(autouse=True)
def _left_as_found() -> Iterator[None]:
    """Whatever a test does, the policies' end leaves the machine as it was."""
    before = look()
    yield
    assert run("stop", "--all").code == 0
    assert before == look()


def numbers(name: str, scheme: str) -> dict[str, int]:
    """Return the statistics of one scheme."""
    for kdamond in state()["kdamonds"]:
        for each in kdamond["schemes"]:
            if kdamond["name"] == name and each["name"] == scheme:
                found: dict[str, int] = each["statistics"]
                return found
    raise LookupError(f"{name} {scheme}")


def tried(slot: int, scheme: int) -> list[Range]:
    """Ask the kernel which regions a scheme tried."""
    write(f"{slot}/state", "update_schemes_tried_regions")
    base = KDAMONDS / f"{slot}/contexts/0/schemes/{scheme}/tried_regions"
    return [
        (int((region / "start").read_text("ascii")), int((region / "end").read_text("ascii")))
        for region in base.iterdir()
        if region.name.isdecimal()
    ]


def overlap(regions: list[Range], span: Range) -> int:
    return sum(max(0, min(end, span[1]) - max(start, span[0])) for start, end in regions)


def test_ksm_merges_and_counts_memory_of_virtual_machines() -> None:
    """Memory in a child cgroup is matched, and KSM merges it; the knobs come back."""
    with (
        cgroup("machine.slice/vm-1.scope/emulator") as group,
        Workload.start(4, 64, cgroup=group, mergeable=True) as load,
    ):
        outcome = run("apply", *shipped("ksm", **FAST))
        assert outcome.code == 0, outcome.err

        assert wait_for(lambda: merged(load.pid) * 4096 > 32 * MIB)
        if has("scheme.filter_passed"):
            assert wait_for(lambda: numbers("ksm/vms", "cold")["sz_ops_filter_passed"] > 0)
        else:
            assert wait_for(lambda: numbers("ksm/vms", "cold-regions")["sz_tried"] > 0)


def test_ksm_counts_nothing_outside_the_virtual_machines() -> None:
    """The same memory beside the cgroup is tried, and does not pass the filters."""
    if not has("scheme.filter_passed"):
        assert run("validate", "--kernel", "live", *shipped("ksm")).code == 0
        return
    with (
        cgroup("machine.slice/vm-1.scope"),
        cgroup("other.slice") as other,
        Workload.start(4, 64, cgroup=other, mergeable=True),
    ):
        assert run("apply", *shipped("ksm", **FAST)).code == 0
        assert wait_for(lambda: numbers("ksm/vms", "cold")["sz_tried"] > 64 * MIB)
        assert numbers("ksm/vms", "cold")["sz_ops_filter_passed"] == 0


def test_proactive_reclaim_swaps_out_what_is_idle_and_only_that() -> None:
    """Cold memory goes to swap; memory that is touched all the time stays."""
    if not Path("/sys/block/zram0").exists():
        assert run("validate", "--kernel", "live", *shipped("proactive-reclaim")).code == 0
        return
    with zram_swap(512), Workload.start(8, 96) as load:
        # Swapping out is pressure of its own under emulation: let no window reach the goal. And
        # let a window reach all memory: most is free, and would be tried again before ours.
        quick = {"idle_for": "500ms", "window": "100ms", "most": "4GiB", "pressure": "100ms"}
        outcome = run("apply", *shipped("proactive-reclaim", **quick))
        assert outcome.code == 0, outcome.err

        assert wait_for(lambda: pages(load.pid, load.cold).swapped > 32 * MIB)
        assert numbers("proactive-reclaim/system", "idle")["sz_applied"] > 32 * MIB
        assert pages(load.pid, load.hot).swapped < MIB


AGE_ALL = """
version: 1
name: age-all
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: 1}]
    intervals: {sample: 5ms, aggregation: 100ms}
    schemes:
      - {name: s, action: stat, filters: [{reject: young}]}
"""


def age_all(tmp_path: Path) -> None:
    """Let no page look young because it was touched before all began.

    DAMON takes every page for young that it never looked at, and a region may hold cold pages
    beside hot ones. A round over all memory looks at each page.
    """
    policy = tmp_path / "age-all.yaml"
    policy.write_text(AGE_ALL.lstrip(), encoding="utf-8")
    assert run("apply", policy).code == 0
    assert wait_for(lambda: numbers("age-all/k", "s")["sz_tried"] > 2048 * MIB)
    assert run("remove", "age-all").code == 0


def tiering(**variables: str) -> None:
    outcome = run("apply", *shipped("memory-tiering", window="100ms", **variables))
    assert outcome.code == 0, outcome.err


def test_memory_tiering_promotes_what_is_hot_and_only_that(tmp_path: Path) -> None:
    """Hot memory of the slow node moves to the fast one; cold memory stays where it is."""
    if not has("quota.goal.node_mem_used_bp"):
        outcome = run("apply", *shipped("memory-tiering"))
        assert outcome.code == 69
        assert "Linux 6.16 has it" in outcome.err
        return
    with no_balancing(), Workload.start(32, 64, node=1) as load:
        age_all(tmp_path)
        assert pages(load.pid, load.hot).nodes.get(0, 0) < MIB
        tiering()
        assert wait_for(lambda: pages(load.pid, load.hot).nodes.get(0, 0) > 8 * MIB)
        assert numbers("memory-tiering/promote", "hot")["sz_applied"] > 8 * MIB
        assert pages(load.pid, load.cold).nodes.get(0, 0) < MIB


def test_memory_tiering_demotes_what_is_cold_and_only_that() -> None:
    """Cold memory of the fast node makes room."""
    if not has("quota.goal.node_mem_used_bp"):
        outcome = run("plan", *shipped("memory-tiering"))
        assert outcome.code == 69
        return
    with no_balancing(), Workload.start(8, 96, node=0) as load:
        tiering(free="95%")
        assert wait_for(lambda: pages(load.pid, load.cold).nodes.get(1, 0) > 32 * MIB)
        assert numbers("memory-tiering/demote", "cold")["sz_applied"] > 32 * MIB
        assert pages(load.pid, load.hot).nodes.get(1, 0) < MIB


def test_monitor_finds_the_hot_range() -> None:
    """The regions of the hot scheme lie in the memory that is touched."""
    with Workload.start(48, 144) as load:
        name = Path(f"/proc/{load.pid}/comm").read_text("ascii").strip()
        text = Path(shipped("monitor")[0]).read_text("utf-8")
        policy = Path("/run/tmp/monitor.yaml")
        policy.parent.mkdir(exist_ok=True)
        policy.write_text(
            text.replace('{name: "{{ program }}"}', '{name: "{{ program }}", pid: "{{ pid }}"}')
            .replace("  program:", "  pid: 1\n  program:")
            .replace("min: 50%", "min: 10%"),
            encoding="utf-8",
        )
        outcome = run("apply", policy, "--set", f"program={name}", "--set", f"pid={load.pid}")
        assert outcome.code == 0, outcome.err
        kdamond = state()["kdamonds"][0]
        assert [each["pid"] for each in kdamond["targets"]] == [load.pid]

        def found() -> bool:
            regions = tried(kdamond["slot"], 0)
            return overlap(regions, load.hot) > 40 * MIB and overlap(regions, load.cold) < 16 * MIB

        assert wait_for(found), (tried(kdamond["slot"], 0), load.hot, load.cold)
