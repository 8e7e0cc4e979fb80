"""Ranking of targets, kdamonds or cgroups by temperature, writes or idle memory.

For schedulers: which virtual machine dirties the least memory (live migration), which cgroup has
the most memory that nobody writes to (KSM). Bytes, temperature and idle bytes are those of the
last snapshot; rates are the mean of all snapshots, weighted by their time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.system.processes import Process
from damonpolicy.observe.collect.merge import (
    counted,
    known_target,
    only_cgroups,
    process_of,
    rounds,
    seen,
)
from damonpolicy.observe.regions import UNKNOWN, Series, Source

__all__ = ("By", "Holder", "Lookup", "Of", "Row", "ordered", "rank")

By = Literal["temperature", "writes", "idle"]
Of = Literal["targets", "kdamonds", "cgroups"]
Lookup = Callable[[int], Process | None]
"""A function from a pid to its process; None if it is gone, or from another machine."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The owner of memory; empty and None if not applicable.

    ``counts`` is the kind of counted accesses: rates of different kinds can't be compared.
    ``unknown`` is the reason why the owner is unknown.
    """

    kdamond: str = ""
    target: int | None = None
    pid: int | None = None
    comm: str = ""
    cgroup: str = ""
    what: str = ""
    """The description of a target, from its source."""
    counts: str = ""
    unknown: str = ""

    @property
    def name(self) -> str:
        """Its name for people."""
        if self.unknown:
            return f"unknown ({self.unknown})"
        if self.pid is not None:
            return f"pid {self.pid}" + (f" ({self.comm})" if self.comm else "")
        if self.cgroup:
            return self.cgroup
        if self.target is not None:
            return self.what or f"target {self.target}"
        return self.kdamond


@dataclass(frozen=True, slots=True)
class Row:
    """One holder's numbers: bytes, bytes per second, bytes, no unit (None: nothing was seen)."""

    holder: Holder
    bytes: int
    rate: float
    idle: int
    temperature: float | None
    snapshots: int


def rank(series: Sequence[Series], of: Of, idle_for: int, lookup: Lookup) -> list[Row]:
    """Return a row for each holder, in no order; ``idle_for`` is in microseconds.

    Bytes that several schemes saw count once. With page filters, only passed bytes count.
    """
    groups: dict[Holder, dict[tuple[str, int], list[Series]]] = {}
    for each in map(known_target, series):
        # -1 stays if several are possible
        for target in each.targets or [each.source.target]:
            part = each.of_target(target)
            spaces = groups.setdefault(_holder(part, of, lookup), {})
            spaces.setdefault(_space(part.source), []).append(part)
    return [_row(holder, spaces.values(), idle_for) for holder, spaces in groups.items()]


def _row(holder: Holder, spaces: Iterable[Sequence[Series]], idle_for: int) -> Row:
    total, idle, rate, heat, snapshots = 0, 0, 0.0, 0.0, 0
    for held in spaces:
        last = next(rounds(held), None)
        if last is None:
            continue
        now = seen(last)
        total += now.total
        idle += now.idle_for(idle_for)
        heat += (now.mean_temperature or 0.0) * now.total
        rate += mean_rate(held)
        snapshots = max(snapshots, min(len(each) for each in held if len(each)))
    return Row(holder, total, rate, idle, heat / total if total else None, snapshots)


def mean_rate(series: Sequence[Series]) -> float:
    """Return the mean of all snapshots' rates in bytes a second, weighted by their aggregations.

    The series are of one address space, and memory that several saw counts once.
    """
    held = [each for each in series if len(each)]
    if len(held) == 1:
        rows, time = held[0].regions, int(held[0].aggregation.sum())
        moved = float((counted(held[0].source, rows).astype(np.float64) * rows.accesses).sum())
        return moved * 1e6 / max(time, 1)
    moved, spent = 0.0, 0
    for parts in rounds(held):
        time = max(part.intervals.aggregation for part in parts)
        moved += seen(parts).bandwidth * time
        spent += time
    return moved / max(spent, 1)


def _space(source: Source) -> tuple[str, int]:
    """Return the address space: physical memory, a process, or a target."""
    if source.ops == "paddr":
        return ("physical", 0)
    process = process_of(source)
    return ("pid", process[0]) if process else (source.kdamond, source.target)


def _holder(series: Series, of: Of, lookup: Lookup) -> Holder:
    source, counts = series.source, series.source.accesses.kind
    if of == "kdamonds":
        return Holder(source.kdamond, counts=counts)
    if of == "cgroups" and any(each.type == "memcg" for each in source.filters):
        return _by_filter(series, counts)
    unknown = Holder(counts=counts, kdamond=source.kdamond if of == "targets" else "")
    if source.target == UNKNOWN:
        return replace(unknown, unknown="the kernel does not tell of which target")
    pid, name = process_of(source) or (None, "")
    process = None if pid is None else lookup(pid)
    if of == "cgroups":
        if process is not None:
            return Holder(cgroup=process.cgroup, counts=counts)
        why = "not of processes, and no filter for a cgroup" if pid is None else "processes gone"
        return replace(unknown, unknown=why)
    words = source.targets[source.target].name if source.target < len(source.targets) else ""
    return Holder(
        source.kdamond,
        source.target,
        pid,
        process.comm if process else name,
        process.cgroup if process else "",
        "physical memory" if source.ops == "paddr" else words,
        counts,
    )


def _by_filter(series: Series, counts: str) -> Holder:
    """Return the only cgroup that the filters of a scheme allow, if there is one."""
    cgroups = only_cgroups(series.source)
    if not cgroups:
        return Holder(counts=counts, unknown="filters let other memory through, too")
    if series.regions.passed is None:
        return Holder(counts=counts, unknown="the kernel does not tell how much passed filters")
    return Holder(cgroup=", ".join(cgroups), counts=counts)


def ordered(rows: Sequence[Row], by: By, *, reverse: bool = False) -> list[Row]:
    """Sort rows: hottest first, least accessed first, or most idle bytes first.

    Ties are sorted by name. Rates of kdamonds that count only writes come before others, as they
    can't be compared. Memory with an unknown holder comes last, in either direction.
    """

    def value(row: Row) -> float:
        if by == "temperature":
            return -(row.temperature or 0.0)
        return row.rate if by == "writes" else -row.idle

    found = sorted(rows, key=lambda row: (row.holder.name, row.holder.kdamond))
    found.sort(key=value, reverse=reverse)
    if by == "writes":
        found.sort(key=lambda row: row.holder.counts != "writes")
    found.sort(key=lambda row: (bool(row.holder.unknown), not row.bytes))
    return found
