"""The memory and processes that probes look at, in a guest and on an emulated machine like it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.system.machine import LiveMachine, Machine
from tests.guest.inside.cgroups import cgroup
from tests.guest.inside.memory import physical
from tests.guest.inside.workload import Workload

from .lab import Lab, Load, Places

__all__ = ("emulated", "real")

MINE, EMPTY = "/effects.slice/load", "/effects.slice/empty"
_HOT, _COLD = 4, 160
"""MiB."""
_HUGE = 2 << 20
_APART = 300
"""Basis points by which the use of the two nodes has to differ."""
_START, _GAP = 0x7000_0000_0000, 1 << 30
_STAT = "/sys/module/damon_stat/parameters/enabled"


def _balance(machine: Machine) -> tuple[int, int]:
    """Return the node of which more is used, and a share between what is used of both."""
    used = []
    for node in (0, 1):
        text = machine.read(f"/sys/devices/system/node/node{node}/meminfo")
        words = {line.split()[2].rstrip(":"): int(line.split()[3]) for line in text.splitlines()}
        used.append((words["MemTotal"] - words["MemFree"]) * 10_000 // words["MemTotal"])
    assert abs(used[0] - used[1]) > _APART, f"both nodes are as full: {used}"
    return used.index(max(used)), sum(used) // 2


def _places(
    machine: Machine, load: Load, other: Load, start: Callable[[int], AbstractContextManager[Load]]
) -> Places:
    """``start`` starts a process on node 0 with so many MiB that it never touches."""
    full, between = _balance(machine)
    able = detect(machine, snapshot(machine))
    return Places(
        load=load, other=other, mine=MINE, empty=EMPTY, fresh=partial(start, _HOT),
        able=lambda name: able.known(name) == "yes", full=full, between=between,
    )  # fmt: skip


def _load(work: Workload) -> Load:
    whole = work.hot if work.hot[1] > work.hot[0] else work.cold
    spot = physical(work.pid, (whole[0], whole[0] + _HUGE))
    assert spot[1] - spot[0] == _HUGE, f"not one huge page: {spot}"
    return Load(work.pid, work.hot, work.cold, spot)


@contextmanager
def real() -> Iterator[Lab]:
    """Prepare a guest."""
    machine = LiveMachine()
    Path("/proc/sys/kernel/numa_balancing").write_text("0", encoding="ascii")

    @contextmanager
    def start(mib: int) -> Iterator[Load]:
        with Workload.start(0, mib, node=0, huge=True) as work:
            yield _load(work)

    with ExitStack() as stack:
        group = stack.enter_context(cgroup(MINE.removeprefix("/")))
        stack.enter_context(cgroup(EMPTY.removeprefix("/")))
        load, other = (
            stack.enter_context(Workload.start(_HOT, cold, node=1, huge=huge, cgroup=own))
            for cold, huge, own in ((_COLD, True, group), (_HOT, True, None))
        )
        time.sleep(1)  # pages come to their lists, of which filters know
        yield Lab(machine, _places(machine, _load(load), _load(other), start))


_GUEST = {
    "nodes": [{"memory": "1GiB", "cpus": "0"}, {"memory": "1GiB", "cpus": "1"}],
    "processes": [{"name": "init", "pid": 1, "areas": [{"size": "4MiB"}]}],
}


@contextmanager
def emulated(series: str) -> Iterator[Lab]:
    """Make an emulated machine that is like it."""
    machine = EmulatedMachine.create(series, spec=_GUEST)
    if machine.exists(_STAT):
        machine.write(_STAT, "N")
    machine.make_cgroup(EMPTY)

    starts = count(_START, 1 << 40)

    def begin(hot: int, cold: int, node: int, group: str) -> Load:
        address = next(starts)
        sizes = [each << 20 for each in (hot, cold)]
        spans = [(address, address + sizes[0]), (address + _GAP, address + _GAP + sizes[1])]
        areas = [
            {"size": size, "start": span[0], "rate": rate, "node": node, "huge": True}
            for size, span, rate in zip(sizes, spans, (1.0, 0.0), strict=True)
            if size
        ]
        pid = machine.start_process("load", areas=areas, cgroup=group)
        at = machine._world.processes[str(pid)]["areas"][0]["at"]
        return Load(pid, spans[0], spans[1], (at, at + _HUGE))

    @contextmanager
    def start(mib: int) -> Iterator[Load]:
        load = begin(0, mib, 0, "/")
        yield load
        machine.exit_process(load.pid)

    load, other = begin(_HOT, _COLD, 1, MINE), begin(_HOT, _HOT, 1, "/")
    yield Lab(machine, _places(machine, load, other, start))
