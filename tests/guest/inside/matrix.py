"""One scheme that takes everything, on a process whose memory is known: by plain writes to sysfs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.system.machine import KDAMONDS, LiveMachine
from damonpolicy.kernel.system.memory import node_ram

from .memory import zram_swap
from .patient import read, write
from .workload import Workload

ROOT = Path(KDAMONDS)
CONTEXT = ROOT / "0/contexts/0"
SCHEME = CONTEXT / "schemes/0"
STATISTICS = ("sz_tried", "sz_applied", "sz_ops_filter_passed")
MIB = 1 << 20
SIZE = 16
ENOUGH = SIZE * MIB // 4
MOST = (1 << 32) - 1
ME, OTHER = "/matrix.slice/load", "/matrix.slice/other"
HUGE = ("hugepage", "collapse")
MOVES = ("migrate_hot", "migrate_cold")

Filter = tuple[str, str, str, str]
"""Type, matching, allow, and the cgroup if there is one."""


def known(path: Path, word: str) -> bool:
    try:
        write(path, word)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Numbers:
    """What the kernel says of the scheme, in bytes."""

    tried: int
    applied: int
    passed: int


@contextmanager
def scheme(load: Workload, ops: str, node: int = 1) -> Iterator[Callable[[], None]]:
    """Stage a kdamond with one scheme for all of a workload's cold memory; yields its start."""
    write(ROOT / "nr_kdamonds", 1)
    write(ROOT / "0/contexts/nr_contexts", 1)
    write(CONTEXT / "operations", ops)
    write(CONTEXT / "monitoring_attrs/intervals/sample_us", 2_000)
    write(CONTEXT / "monitoring_attrs/intervals/aggr_us", 40_000)
    # as large as can be: what some actions take are whole huge pages
    write(CONTEXT / "monitoring_attrs/nr_regions/min", 3)
    write(CONTEXT / "targets/nr_targets", 1)
    target = CONTEXT / "targets/0"
    spans = [load.cold]
    if ops == "paddr":
        # the workload is nearly all that lies there
        spans = node_ram(LiveMachine(), node)
    else:
        write(target / "pid_target", load.pid)
    # which a kdamond takes as they are until its first update of them, after a minute
    write(target / "regions/nr_regions", len(spans))
    for index, (start, end) in enumerate(spans):
        write(target / f"regions/{index}/start", start)
        write(target / f"regions/{index}/end", end)
    write(CONTEXT / "schemes/nr_schemes", 1)
    for name in ("sz", "nr_accesses", "age"):
        write(SCHEME / f"access_pattern/{name}/max", (1 << 64) - 1 if name == "sz" else MOST)
    try:
        yield lambda: write(ROOT / "0/state", "on")
    finally:
        if read(ROOT / "0/state") == "on\n":
            write(ROOT / "0/state", "off")
        write(ROOT / "nr_kdamonds", 0)


def choose(action: str) -> None:
    """Let the scheme do something."""
    write(SCHEME / "action", action)
    if action in MOVES:
        write(SCHEME / "target_nid", 1)


def numbers(rounds: int = 1, patience: float = 30) -> Numbers:
    """Let the scheme be applied some times; return what came of it.

    ``patience`` is in seconds: a scheme that tries nothing never says that it was applied.
    """
    deadline = time.monotonic() + patience
    seen = 0
    while True:
        write(ROOT / "0/state", "update_schemes_stats")
        tried = int((SCHEME / "stats/nr_tried").read_text("ascii"))
        seen += tried > 0
        if seen > rounds or time.monotonic() > deadline:
            break
        time.sleep(0.1)  # until it is asked again, up to the deadline
    values = {
        name: int((SCHEME / f"stats/{name}").read_text("ascii"))
        if (SCHEME / f"stats/{name}").exists()
        else 0
        for name in STATISTICS
    }
    return Numbers(values["sz_tried"], values["sz_applied"], values["sz_ops_filter_passed"])


def reached(least: int) -> Numbers:
    """Let the scheme be applied until it did more than so many bytes, or for a while.

    Pages that were touched lately are spared at first, and how late that was is the guest's clock.
    """
    deadline = time.monotonic() + 60
    while (found := numbers()).applied <= least and time.monotonic() < deadline:
        pass
    return found


def put_filters(filters: list[Filter], directory: str = "") -> None:
    """Write filters to the directory that takes their type."""
    layers = (SCHEME / "ops_filters").exists()
    base = SCHEME / (directory or ("ops_filters" if layers else "filters"))
    write(base / "nr_filters", len(filters))
    for index, (kind, matching, allow, path) in enumerate(filters):
        write(base / f"{index}/type", kind)
        write(base / f"{index}/matching", matching)
        if (base / f"{index}/allow").exists():
            write(base / f"{index}/allow", allow)
        if path:
            write(base / f"{index}/memcg_path", path)
        if kind == "hugepage_size":
            write(base / f"{index}/min", 2 * MIB)
            write(base / f"{index}/max", 2 * MIB)


def lacks(able: Capabilities, name: str) -> bool:
    """Return whether the kernel lacks a feature; what no table names all kernels have."""
    return name in able.answers and able.known(name) == "no"


class Loads:
    """Workloads by where they are; those whose memory is moved away serve once only."""

    def __init__(self, stack: ExitStack, group: Path) -> None:
        self._stack, self._group = stack, group
        self._kept: dict[tuple[int | None, bool], Workload] = {}

    @contextmanager
    def serving(self, ops: str, action: str) -> Iterator[Workload]:
        """Give a workload that an action could change, with swap where that is needed."""
        node = None if ops != "paddr" else 1
        if action == "pageout":
            with zram_swap(256), Workload.start(1, SIZE, node=node) as load:
                yield load
        elif action in MOVES:
            with Workload.start(1, SIZE, node=0) as load:
                yield load
        else:
            yield self.kept(node, huge=action in HUGE)

    def kept(self, node: int | None, *, huge: bool = False) -> Workload:
        """Return one that stays, in the cgroup of the tests."""
        if (node, huge) not in self._kept:
            load = Workload.start(1, SIZE, node=node, huge=huge, cgroup=self._group)
            self._kept[node, huge] = self._stack.enter_context(load)
        return self._kept[node, huge]
