"""Feedback loops of the service under a real workload: they reach their target, and stay there."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .cgroups import cgroup
from .memory import slow_disk, zram_swap
from .policy import MIB, wait_for
from .pressure import stalled, without_generations
from .served import SECONDS, Service, content

TARGET = 1_500
"""Pages that come back from swap, each second."""
HOLD = 60
"""Seconds for which a loop has to stay at its target."""

POLICY = """
version: 1
name: loop
kdamonds:
  - name: k
    ops: fvaddr
    targets: [{{process: {{pid: {pid}}}, regions: [{{start: {start}, end: {end}}}]}}]
    intervals: {{sample: 20ms, aggregation: 200ms, update: 1h}}
    schemes:
      - name: s
        action: pageout
        access_pattern: {{access_rate: {{max: 50%}}}}
        quota:
          size: {size}
          every: 500ms
          weights: {{size: 0, access_rate: 1, age: 0}}
          goals: [{goals}]
tuning: [{tuning}]
"""
RATE = "from: {vmstat: pswpin, as: rate}"
LOOP = f"{{name: q, quota: k/s, {RATE}, target: {TARGET}, bounds: {{min: 100KiB, max: 64MiB}}, every: 4s}}"
FED = f"{{metric: user_input, target: {TARGET}, {RATE}}}"


@contextmanager
def sweeping(*options: object) -> Iterator[tuple[int, int, int]]:
    """Sweep over memory; yields the process, and where its memory is."""
    path = Path(__file__).with_name("sweep.py")
    command = [sys.executable, "-I", "-S", path, "64", "0.5", *options]
    process = subprocess.Popen([str(each) for each in command], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        with process.stdout as said:
            start, end = said.readline().split()
        yield process.pid, int(start), int(end)
    finally:
        process.kill()
        process.wait()


def swapped_in() -> int:
    lines = Path("/proc/vmstat").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("pswpin "))


def rates(seconds: float, each: float) -> Iterator[float]:
    """Yield how many pages a second came back, over each so many seconds."""
    ends = time.monotonic() + seconds
    last, at = swapped_in(), time.monotonic()
    while at < ends:
        time.sleep(each)
        now, then = swapped_in(), time.monotonic()
        yield (now - last) / (then - at)
        last, at = now, then


def stays(seconds: float, windows: int, window: float) -> None:
    """Wait, at most for so many windows, until the rate is right; then it has to stay so.

    Judged over two windows each, as pages come back by fits and starts.
    """
    seen: list[float] = []
    for rate in rates(windows * window, 2 * window):
        seen.append(rate)
        if abs(rate - TARGET) <= TARGET / 10:
            break
    else:
        pytest.fail(f"not at its target after {windows} windows: {seen}")
    held = list(rates(seconds, 2 * window))
    assert all(abs(rate - TARGET) <= TARGET / 10 for rate in held), (seen, held)


@pytest.mark.long
@pytest.mark.parametrize("again", range(5))
def test_a_loop_moves_a_quota_to_its_target(service: Service, again: int) -> None:
    """Proactive reclaim of a process that wants its memory back."""
    del again
    with zram_swap(256), sweeping() as (pid, start, end):
        text = POLICY.format(pid=pid, start=start, end=end, size="1500KiB", goals="", tuning=LOOP)
        service.put("l.yaml", text)
        assert wait_for(lambda: content("0/state") == "on", SECONDS)
        stays(HOLD, 40, 4)


@pytest.mark.long
def test_the_kernel_comes_to_a_goal_that_the_service_feeds(service: Service) -> None:
    with zram_swap(256), sweeping() as (pid, start, end):
        text = POLICY.format(pid=pid, start=start, end=end, size="64MiB", goals=FED, tuning="")
        service.put("l.yaml", text.replace("500ms", "2s"))
        assert wait_for(lambda: content("0/state") == "on", SECONDS)
        seen = list(rates(120, 2))
        assert statistics.median(seen[-20:]) == pytest.approx(TARGET, rel=0.1), seen


def press(group: Path, much: int) -> None:
    """Take a cgroup's room away, little by little, until it has waited so many microseconds."""
    begin = stalled()
    for room in range(66, 48, -2):
        (group / "memory.max").write_text(str(room * MIB), encoding="ascii")
        if wait_for(lambda: stalled() - begin > much, 15):
            return
    pytest.fail(f"it waited for {stalled() - begin} us")


@pytest.mark.long
def test_the_kernel_comes_to_a_goal_on_pressure(service: Service) -> None:
    """It keeps a process waiting for its slow disk for six hundredths of the time.

    The median: windows differ, and after one with twice the target the kernel begins at next to
    nothing (mm/damon/core.c: damon_feed_loop_next_input()). Only who waits for pages that were in
    use when they were taken counts (mm/workingset.c): for a while there is a little less room than
    the process wants.
    """
    window, target = 4, 240_000
    with (
        without_generations(),
        slow_disk(64, 250_000) as disk,
        cgroup("sweeping.slice") as group,
        sweeping("--cgroup", group, "--file", disk) as (pid, start, end),
    ):
        time.sleep(4)  # it goes over its memory a few times
        press(group, 5_000_000)
        (group / "memory.max").write_text("max", encoding="ascii")
        goal = f"{{metric: some_mem_psi_us, target: {target}us}}"
        text = POLICY.format(pid=pid, start=start, end=end, size="64MiB", goals=goal, tuning="")
        service.put("l.yaml", text.replace("every: 500ms", f"every: {window}s"))
        assert wait_for(lambda: content("0/state") == "on", SECONDS)
        seen = []
        for _ in range(60):
            before = stalled()
            time.sleep(window)
            seen.append(stalled() - before)
        assert statistics.median(seen[40:]) == pytest.approx(target, rel=0.15), f"{seen}"
