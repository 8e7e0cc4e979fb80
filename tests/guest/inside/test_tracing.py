"""DAMON's trace events, read from a private instance of the real tracefs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from damonpolicy.kernel.damon.tracing import TRACEFS, Tracing, available, remove_leftovers
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.observe.collect.running import running
from damonpolicy.observe.collect.trace_events import Snapshot, Traced, watched
from damonpolicy.observe.records.files import load
from damonpolicy.observe.regions import Intervals
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.plan.state import Managed

from .patient import read, write
from .workload import Workload

KDAMONDS = Path("/sys/kernel/mm/damon/admin/kdamonds")
INSTANCES = Path(TRACEFS, "instances")
RAM = "System RAM"
SAMPLE, AGGREGATION = 10_000, 200_000
LEAST, MOST = 20, 100


def ram() -> tuple[int, int]:
    """Return the largest range of the machine's memory."""
    text = Path("/proc/iomem").read_text(encoding="ascii")
    found = re.findall(rf"^([0-9a-f]+)-([0-9a-f]+) : {RAM}$", text, re.MULTILINE)
    return max(
        ((int(start, 16), int(end, 16) + 1) for start, end in found),
        key=lambda each: each[1] - each[0],
    )


@contextmanager
def kdamonds(*contexts: tuple[str, list[object]]) -> Iterator[None]:
    """Run kdamonds by plain writes: operations, and for each target a range or a pid."""
    write(KDAMONDS / "nr_kdamonds", len(contexts))
    for slot, (operations, targets) in enumerate(contexts):
        write(KDAMONDS / f"{slot}/contexts/nr_contexts", 1)
        context = KDAMONDS / f"{slot}/contexts/0"
        write(context / "operations", operations)
        write(context / "monitoring_attrs/intervals/sample_us", SAMPLE)
        write(context / "monitoring_attrs/intervals/aggr_us", AGGREGATION)
        write(context / "monitoring_attrs/nr_regions/min", LEAST)
        write(context / "monitoring_attrs/nr_regions/max", MOST)
        write(context / "targets/nr_targets", len(targets))
        for number, target in enumerate(targets):
            base = context / f"targets/{number}"
            if isinstance(target, tuple):
                write(base / "regions/nr_regions", 1)
                write(base / "regions/0/start", target[0])
                write(base / "regions/0/end", target[1])
            else:
                write(base / "pid_target", target)
        write(KDAMONDS / f"{slot}/state", "on")
    try:
        yield
    finally:
        for slot in range(len(contexts)):
            if read(KDAMONDS / f"{slot}/state") == "on\n":
                write(KDAMONDS / f"{slot}/state", "off")
        write(KDAMONDS / "nr_kdamonds", 0)


def traced(count: int) -> list[Snapshot]:
    """Record so many snapshots of all kdamonds that run."""
    machine = LiveMachine()
    found: list[Snapshot] = []
    deadline = time.monotonic() + 60
    with Traced(machine, watched(machine, running(retrieve(machine), Managed("")))) as source:
        assert [each.name for each in INSTANCES.iterdir()] == [f"damonpolicy-{os.getpid()}"]
        while len(found) < count:
            assert time.monotonic() < deadline
            found += source.read(0.5)
        assert source.assembler.lost == 0
    return found


def instances() -> list[str]:
    return [each.name for each in INSTANCES.iterdir()]


def test_a_kdamond_of_physical_memory() -> None:
    """Three aggregations hold all of its range, in as many regions as it may have."""
    low, high = ram()
    with kdamonds(("paddr", [(low, high)])):
        found = traced(3)
        now = time.time_ns()

    assert instances() == []
    for source, begin, end, intervals, regions in found:
        assert (source.kdamond, source.ops, source.origin) == ("slot 0", "paddr", "trace")
        assert Intervals(SAMPLE, AGGREGATION) == intervals
        assert regions.total == (high - low) // 4096 * 4096
        assert (regions.start[1:] == regions.end[:-1]).all()
        assert 1 <= len(regions) <= MOST
        assert (regions.accesses <= AGGREGATION // SAMPLE).all()
        assert (regions.target == 0).all()
        assert 0 < end - begin < 3 * AGGREGATION * 1000
        assert abs(now - end) < 60e9
    assert [each[2] for each in found[:2]] == [each[1] for each in found[1:]]
    assert found[2][4].age.max() > 0


def test_targets_of_several_kdamonds_are_told_apart() -> None:
    """Each snapshot holds all targets of one kdamond, and hot memory is found in its own."""
    with (
        Workload.start(16, 48) as load,
        Workload.start(0, 8) as idle,
        kdamonds(("vaddr", [load.pid, idle.pid]), ("paddr", [ram()])),
    ):
        found = traced(24)

    of_load = [each for each in found if each[0].kdamond == "slot 0"]
    assert {each[0].kdamond for each in found} == {"slot 0", "slot 1"}
    assert all(set(each[4].target.tolist()) == {0, 1} for each in of_load)
    hot = [
        regions.take((regions.accesses > 3) & (regions.start < load.hot[1])
                     & (regions.end > load.hot[0]))
        for _, _, _, _, regions in of_load
    ]  # fmt: skip
    assert any(len(each) for each in hot)
    assert all((each.target == 0).all() for each in hot)
    assert of_load[0][0].targets[0].pid == load.pid


def test_only_our_kdamonds_are_traced() -> None:
    """Another instance sees what it asks for; ours sees nothing without a pid."""
    with kdamonds(("paddr", [ram()])), Tracing() as tracing:
        tracing.follow([])

        assert tracing.read(1) == ""

        tracing.follow([1])

        assert tracing.read(1) == ""


def test_who_is_killed_leaves_an_instance_that_the_next_removes() -> None:
    code = "import os; from damonpolicy.kernel.damon.tracing import Tracing; Tracing(); os.kill(os.getpid(), 9)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        process.wait(60)

    assert instances() == [f"damonpolicy-{process.pid}"]
    assert remove_leftovers() == [f"damonpolicy-{process.pid}"]
    assert instances() == []
    assert available()


@pytest.mark.parametrize(
    "number", [15, pytest.param(2, marks=pytest.mark.once), pytest.param(1, marks=pytest.mark.once)]
)
def test_record_ends_with_a_whole_file_and_without_an_instance(tmp_path: Path, number: int) -> None:
    """The command, until a signal."""
    out = tmp_path / "out.parquet"
    words = ["--state-dir", str(tmp_path / "state"), "record", "-o", str(out), "--max-size", "1B"]
    words += ["--keep", "999"]
    with (
        kdamonds(("paddr", [ram()])),
        subprocess.Popen(
            [sys.executable, "-m", "damonpolicy", *words], stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        deadline = time.monotonic() + 120
        while not out.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(number)
        told = process.communicate(timeout=60)[1]

    assert process.returncode == 0, told
    assert "snapshot" in told
    assert len(load(str(out))[0]) > 0
    assert instances() == []
