"""The workload and its helpers do on every kernel what later tests build on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .cgroups import ROOT, cgroup
from .memory import merged, no_balancing, pages, zram_swap
from .patient import write
from .workload import Range, Workload

KDAMONDS = Path("/sys/kernel/mm/damon/admin/kdamonds")
KSM = Path("/sys/kernel/mm/ksm")
MIB = 1 << 20


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def monitoring(pid: int) -> Iterator[Path]:
    """Run DAMON on a process with one scheme that only looks."""
    write(KDAMONDS / "nr_kdamonds", 1)
    kdamond = KDAMONDS / "0"
    write(kdamond / "contexts/nr_contexts", 1)
    context = kdamond / "contexts/0"
    write(context / "operations", "vaddr")
    write(context / "targets/nr_targets", 1)
    write(context / "targets/0/pid_target", pid)
    write(context / "schemes/nr_schemes", 1)
    scheme = context / "schemes/0"
    write(scheme / "action", "stat")
    for name, low, high in (
        ("sz", 0, 1 << 40),
        ("nr_accesses", 5, 1 << 20),
        ("age", 0, 1 << 20),
    ):
        write(scheme / "access_pattern" / name / "min", low)
        write(scheme / "access_pattern" / name / "max", high)
    write(kdamond / "state", "on")
    try:
        yield kdamond
    finally:
        write(kdamond / "state", "off")
        write(KDAMONDS / "nr_kdamonds", 0)


def hot_regions(kdamond: Path) -> list[Range]:
    write(kdamond / "state", "update_schemes_tried_regions")
    tried = kdamond / "contexts/0/schemes/0/tried_regions"
    return [
        (int((region / "start").read_text("ascii")), int((region / "end").read_text("ascii")))
        for region in tried.iterdir()
        if region.name.isdecimal()
    ]


def overlap(regions: list[Range], span: Range) -> int:
    return sum(max(0, min(end, span[1]) - max(start, span[0])) for start, end in regions)


@pytest.mark.parametrize("by_write", [True, False], ids=["write", "read"])
def test_damon_sees_the_hot_memory_and_only_that(*, by_write: bool) -> None:
    """Emulation hides no access, and invents none."""
    with Workload.start(48, 144, write=by_write) as load, monitoring(load.pid) as kdamond:

        def seen() -> bool:
            regions = hot_regions(kdamond)
            return overlap(regions, load.hot) > 40 * MIB and overlap(regions, load.cold) < 16 * MIB

        assert wait_for(seen), (hot_regions(kdamond), load.hot, load.cold)


@pytest.mark.parametrize("node", [0, 1])
@pytest.mark.parametrize("anon", [True, False], ids=["anon", "shared"])
def test_pages_are_put_on_a_node(node: int, *, anon: bool) -> None:
    """All of the memory is where it was asked for."""
    with no_balancing(), Workload.start(4, 12, node=node, anon=anon) as load:
        assert {node: 4 * MIB} == pages(load.pid, load.hot).nodes
        assert {node: 12 * MIB} == pages(load.pid, load.cold).nodes


def test_huge_pages_only_when_asked() -> None:
    """Huge pages are a choice of the test, whatever the kernel's default."""
    with Workload.start(2, 8, huge=True) as load:
        assert pages(load.pid, load.cold).huge == 8 * MIB
    with Workload.start(2, 8) as load:
        assert pages(load.pid, load.cold).huge == 0
        assert pages(load.pid, load.cold).resident == 8 * MIB


def test_a_cgroup_pages_out_to_zram() -> None:
    """Memory is charged to the group, and reclaim moves the cold part of it to swap."""
    with (
        zram_swap(256),
        cgroup("test.slice/load", memory_high=512 * MIB) as group,
        Workload.start(4, 32, cgroup=group) as load,
    ):
        assert int((group / "memory.current").read_text("ascii")) > 36 * MIB
        assert str(load.pid) in (group / "cgroup.procs").read_text("ascii").split()

        write(group / "memory.reclaim", "16M")

        # What is reclaimed may in part be page cache.
        assert pages(load.pid).swapped > 8 * MIB

    assert not (ROOT / "test.slice").exists()


def test_equal_pages_are_merged() -> None:
    """KSM finds the pages, and both ways to count them agree."""
    write(KSM / "sleep_millisecs", 10)
    write(KSM / "pages_to_scan", 5000)
    write(KSM / "run", 1)
    try:
        with Workload.start(1, 8, mergeable=True) as load:
            assert wait_for(lambda: merged(load.pid) >= 2048)
            assert pages(load.pid, load.cold).merged >= 7 * MIB
    finally:
        write(KSM / "run", 2)
        write(KSM / "run", 0)


def test_a_group_ends_what_is_in_it() -> None:
    """Nothing of a failed test is left for the next."""
    with cgroup("test.slice") as group:
        load = Workload.start(1, cgroup=group)

    assert not load.alive
