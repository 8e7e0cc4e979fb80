"""A steady pressure on memory, and a kernel's goal on it during commits."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from .cgroups import cgroup
from .memory import put
from .policy import KDAMONDS, MIB, wait_for, write

__all__ = ("WINDOW", "commit", "goal", "let_pass", "stalled", "stalling", "without_generations")

WINDOW = 0.5
"""Seconds of a quota's window, after which its goal is looked at."""
_GENERATIONS = Path("/sys/kernel/mm/lru_gen/enabled")
_TOTAL = re.compile(r"some .* total=(\d+)")
_ENDLESS = """
import mmap
while True:
    with mmap.mmap(-1, 1 << 20) as memory:
        for at in range(0, 1 << 20, 4096):
            memory[at] = 1
"""


def stalled() -> int:
    """Return for how many microseconds some task has waited for memory, since boot."""
    found = _TOTAL.search(Path("/proc/pressure/memory").read_text("ascii"))
    assert found
    return int(found[1])


def without_generations() -> AbstractContextManager[None]:
    """Let the kernel age pages by two lists, if it has generations.

    With them a wait for a page counts only while the generation in which it was taken is the
    oldest one (mm/workingset.c: lru_gen_refault()), so that waits cease to count by and by.
    """
    return put(_GENERATIONS, "0") if _GENERATIONS.exists() else nullcontext()


@contextmanager
def stalling() -> Iterator[None]:
    """Let a process wait for memory all the time: the kernel makes it sleep above memory.high."""
    with cgroup("stalling.slice", memory_high=MIB) as group:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", _ENDLESS])
        try:
            (group / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
            begin = stalled()
            assert wait_for(lambda: stalled() - begin > 2 * WINDOW * 1e6)
            yield
        finally:
            process.kill()
            process.wait()


@contextmanager
def goal(target: int) -> Iterator[Callable[[], int]]:
    """Run a scheme that only looks, and whose quota a goal on pressure moves.

    ``target`` is in microseconds of a window. What is yielded asks how many bytes the quota has.
    """
    with _kdamond(target):
        yield _allowed


def _allowed() -> int:
    write("0/state", "update_schemes_effective_quotas")
    path = KDAMONDS / "0/contexts/0/schemes/0/quotas/effective_bytes"
    return int(path.read_text("ascii"))


def let_pass(windows: float) -> None:
    """Let so many windows pass."""
    time.sleep(windows * WINDOW)


def commit() -> None:
    """Hand the running kdamond what it runs with already."""
    write("0/state", "commit")


@contextmanager
def _kdamond(target: int) -> Iterator[None]:
    context = "0/contexts/0"
    quota = f"{context}/schemes/0/quotas"
    write("nr_kdamonds", 1)
    try:
        write("0/contexts/nr_contexts", 1)
        write(f"{context}/operations", "paddr")
        write(f"{context}/targets/nr_targets", 1)
        write(f"{context}/targets/0/regions/nr_regions", 1)
        write(f"{context}/targets/0/regions/0/start", 16 * MIB)
        write(f"{context}/targets/0/regions/0/end", 64 * MIB)
        write(f"{context}/schemes/nr_schemes", 1)
        write(f"{context}/schemes/0/action", "stat")
        for name in ("sz", "nr_accesses", "age"):
            write(f"{context}/schemes/0/access_pattern/{name}/max", (1 << 32) - 1)
        write(f"{quota}/bytes", 1 << 40)
        write(f"{quota}/reset_interval_ms", round(WINDOW * 1000))
        write(f"{quota}/goals/nr_goals", 1)
        write(f"{quota}/goals/0/target_metric", "some_mem_psi_us")
        write(f"{quota}/goals/0/target_value", target)
        write("0/state", "on")
        yield
        write("0/state", "off")
    finally:
        write("nr_kdamonds", 0)
