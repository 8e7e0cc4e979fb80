"""Snapshots of running kdamonds from trace events, for each aggregation and all targets.

They show what the kdamonds see anyway: no scheme is needed, none of DAMON's files are written, and
its lock is not held.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from damonpolicy.base.errors import UsageError
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tracing import Tracing, available
from damonpolicy.kernel.damon.view import Kdamonds
from damonpolicy.kernel.system.host import busy_modules
from damonpolicy.kernel.system.machine import KDAMONDS, Machine, entries, read_or
from damonpolicy.observe.collect.live import source
from damonpolicy.observe.collect.modules import kdamonds
from damonpolicy.observe.collect.running import Kdamond
from damonpolicy.observe.collect.trace import Assembler, Burst
from damonpolicy.observe.regions import Intervals, Regions, Series, Source, series_of

if TYPE_CHECKING:
    from damonpolicy.emulated.damon.tracing import EmulatedTracing

__all__ = ("Snapshot", "Traced", "Watched", "look", "watched")

Snapshot: TypeAlias = tuple[Source, int, int, Intervals, Regions]
"""Source, begin and end in nanoseconds since the epoch, intervals, regions."""

_MARGIN = 1.0
"""Seconds to wait beyond the aggregations."""

_LATE = 3
"""Aggregations after which a snapshot no longer counts as following the one before."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A running kdamond; ``unit`` is the bytes of one unit of its addresses."""

    pid: int
    source: Source
    intervals: Intervals
    targets: int
    regions: int
    unit: int


def watched(machine: Machine, kdamonds: Iterable[Kdamond]) -> list[Watched]:
    """Return the data of kdamonds that tracing needs."""
    return [
        Watched(
            each.pid,
            # a module's has no slot; damo writes 0 for it, too
            source(machine, each, slot=max(each.slot, 0), origin="trace"),
            each.intervals,
            len(each.files.targets),
            each.files.region_count.max.number,
            each.files.addr_unit.number,
        )
        for each in kdamonds
        if each.pid > 0
    ]


@dataclass(slots=True)
class Traced:
    """A trace of kdamonds; a context manager that ends it."""

    machine: Machine
    kdamonds: list[Watched]
    events: Tracing | EmulatedTracing = field(init=False)
    assembler: Assembler = field(default_factory=Assembler)
    _by_pid: dict[int, Watched] = field(default_factory=dict)
    _ended: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin. Raises KernelLacks or UsageError if there is nothing to trace."""
        # with probes, and in development always, two events report each region
        self.events = _open(self.machine, sum(2 * each.regions for each in self.kdamonds))
        self.follow(self.kdamonds)

    def follow(self, found: list[Watched]) -> None:
        """Trace these kdamonds from now on."""
        self.kdamonds = found
        self._by_pid |= {each.pid: each for each in found}
        self.assembler.targets = {each.pid: each.targets for each in found}
        self.assembler.probing = {each.pid for each in found if each.source.probes}
        self.events.follow(each.pid for each in found)

    def changed(self) -> bool:
        """Return whether a kdamond has started, ended, or got other probes since `follow`."""
        names = (name for name in entries(self.machine, KDAMONDS) if name.isdecimal())
        texts = {
            tuple(
                read_or(self.machine, f"{KDAMONDS}/{each.path}", "0")
                for each in (slot.pid, slot.probes.count)
            )
            for slot in (Kdamonds()[int(name)] for name in names)
        }
        found = {(int(pid), int(probes)) for pid, probes in texts if pid.isdecimal()} - {(0, 0)}
        if not found:  # a module's kdamond never runs beside others
            found = {(each.pid, 0) for each in kdamonds(self.machine, busy_modules(self.machine))}
        return found != {(e.pid, len(e.source.probes)) for e in self.kdamonds}

    def read(self, seconds: float) -> list[Snapshot]:
        """Return complete snapshots, after a bounded wait for lines."""
        return self._snapshots(self.assembler.feed(self.events.read(seconds)))

    def finish(self) -> list[Snapshot]:
        """Return the remaining snapshots."""
        return self._snapshots(self.assembler.finish())

    def _snapshots(self, bursts: list[Burst]) -> list[Snapshot]:
        return [self._snapshot(each) for each in bursts if each.pid in self._by_pid]

    def _snapshot(self, burst: Burst) -> Snapshot:
        kdamond = self._by_pid[burst.pid]
        intervals = kdamond.intervals
        if burst.sample and intervals.sample:
            aggregation = intervals.aggregation * burst.sample // intervals.sample
            intervals = replace(intervals, sample=burst.sample, aggregation=aggregation)
        end = burst.time + self.events.epoch
        lasted = intervals.aggregation * 1000
        last = self._ended.get(burst.pid, 0)
        begin = last if end - lasted * _LATE < last < end else end - lasted
        self._ended[burst.pid] = end
        return kdamond.source, begin, end, intervals, _bytes(burst.regions, kdamond.unit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.events.close()


def _bytes(regions: Regions, unit: int) -> Regions:
    """Convert addresses in the kernel's core units to bytes."""
    if unit == 1:
        return regions
    return replace(
        regions, start=regions.start * np.uint64(unit), end=regions.end * np.uint64(unit)
    )


def _open(machine: Machine, regions: int) -> Tracing | EmulatedTracing:
    if machine.here:
        return Tracing(regions=regions)
    from damonpolicy.emulated.machine import EmulatedMachine

    if isinstance(machine, EmulatedMachine):
        from damonpolicy.emulated.damon.tracing import EmulatedTracing

        return EmulatedTracing(machine)
    raise UsageError("a copy of a machine's files has no trace events")


def possible(machine: Machine) -> bool:
    """Return whether trace events can be watched here."""
    if machine.here:
        return available()
    return machine.writable


def look(machine: Machine, kdamonds: Iterable[Kdamond], patience: float = _LATE) -> list[Series]:
    """Return one snapshot of each kdamond, of its next aggregation; silent ones have none.

    ``patience`` is how many of the longest aggregations they are waited for, and a margin. Raises KernelLacks or UsageError where there is nothing to trace.
    """
    there = watched(machine, kdamonds)
    seen: dict[str, Series] = {}
    with Traced(machine, there) as traced:
        longest = max((each.intervals.aggregation for each in there), default=0) / 1e6
        ends = machine.monotonic() + patience * (longest + _MARGIN / _LATE)
        while len(seen) < len(there) and machine.monotonic() < ends:
            _first(seen, traced.read(min(longest, _MARGIN)))
        _first(seen, traced.finish())
    return list(seen.values())


def _first(seen: dict[str, Series], found: list[Snapshot]) -> None:
    for of, begin, end, intervals, regions in found:
        if of.kdamond not in seen:
            seen[of.kdamond] = series_of(of, [(begin, end, intervals, regions)])
