"""Requests to running kdamonds for the regions that their schemes try.

`update_schemes_tried_regions` makes the kernel write the regions that each scheme tries next into
`tried_regions/`. Until the last scheme has had its turn the kernel holds the one lock of all of
DAMON's files: so the duration is estimated first, and the command is never sent if it would not
end.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import chain
from typing import Any

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.errors import Busy
from damonpolicy.engine import execute
from damonpolicy.engine.execute import OperationFailed
from damonpolicy.kernel.damon.features import first_kernel
from damonpolicy.kernel.damon.tree import asks_pages, kdamond_path
from damonpolicy.kernel.damon.view import Pattern, Scheme, TriedRegion
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.observe.collect.running import Kdamond
from damonpolicy.observe.regions import UNKNOWN, Intervals, Regions, Series, Source, series_of
from damonpolicy.plan import facts
from damonpolicy.plan.facts import filters

__all__ = (
    "UNTOLD",
    "ask",
    "clear",
    "held_for",
    "look",
    "now",
    "obstacle",
    "partial",
    "read",
    "source",
    "tells",
    "told",
)

UNTOLD = (
    "this kernel does not show the regions that schemes tried:"
    f" {first_kernel('scheme.tried_regions')}"
)

_PATIENCE = 5.0
"""Seconds for which DAMON's lock may be held for additional numbers."""


def held_for(kdamond: Kdamond) -> float:
    """Estimate the most seconds for which a request for regions holds DAMON's lock.

    Each scheme has to have its turn (mm/damon/core.c: damos_walk_control), which comes with its
    apply interval, or an aggregation.
    """
    intervals = kdamond.intervals
    turns = (each.apply_every.number or intervals.aggregation for each in kdamond.schemes)
    return (max(turns, default=0) + intervals.sample) / 1e6


def partial(kdamond: Kdamond) -> bool:
    """Return whether regions may be missing, as each of its schemes selects some by pattern."""
    samples = kdamond.intervals.samples
    return not any(_takes_all(each.access_pattern, samples) for each in kdamond.schemes)


def _takes_all(pattern: Pattern, samples: int) -> bool:
    """Return whether a pattern excludes no size, rate or age of a region."""
    return all(
        taken.min.number <= lowest and taken.max.number >= highest
        for taken, lowest, highest in (
            (pattern.size, 1, 1 << 63),
            (pattern.access_rate, 0, samples),
            (pattern.age, 0, 1 << 31),
        )
    )


def tells(machine: Machine, kdamond: Kdamond) -> bool:
    """Return whether the kernel has files for the regions that schemes tried (since Linux 6.2)."""
    return all(machine.exists(_regions(kdamond, each)) for each in kdamond.schemes)


def _regions(kdamond: Kdamond, scheme: Scheme) -> str:
    """Return the directory of the regions that a scheme tried."""
    return kdamond_path(kdamond.slot, scheme.tried_regions.path)


def obstacle(machine: Machine, kdamond: Kdamond) -> str:
    """Return why its regions cannot be requested; empty if they can.

    On some kernels the command would then never end, with the lock held (docs/kernel-quirks.md).
    """
    if kdamond.slot == UNKNOWN:
        return "a kernel module reports its regions by trace events only"
    if not kdamond.schemes:
        return "it has no scheme that reports regions"
    if not tells(machine, kdamond):
        return UNTOLD
    if kdamond.files.paused.yes:
        return "it is paused"
    if all(each.watermarks.metric.text != "none" for each in kdamond.schemes):
        return "all of its schemes have watermarks, and may be asleep"
    if kdamond.tuned and _starved(kdamond):
        return "tuning its intervals may never let a scheme have its turn"
    return ""


def _starved(kdamond: Kdamond) -> bool:
    """Return whether a scheme waits longer than the shortest time between two tunings.

    Each tuning restarts its wait (mm/damon/core.c: damon_set_attrs()).
    """
    goal = kdamond.files.intervals.auto_tune
    between = goal.aggregations.number * goal.min_sample.number * kdamond.intervals.samples
    return any(each.apply_every.number > between for each in kdamond.schemes)


def ask(machine: Machine, kdamond: Kdamond) -> None:
    """Make the kernel write the regions that its schemes try, and their statistics.

    It waits for the schemes' turns.

    Raises Busy if the kdamond does not answer.
    """
    commands = ["update_schemes_stats", "update_schemes_tried_regions"]
    if kdamond.tuned:
        commands.insert(0, "update_tuned_intervals")
    for word in commands:
        try:
            execute.ask(machine, kdamond.slot, word, kdamond.tree)
        except OperationFailed as error:
            message = f"{kdamond.name} does not report its regions: {error.reason}"
            hint = "`damonpolicy status` shows whether it runs"
            raise Busy(message, hint=hint) from error


def clear(machine: Machine, kdamond: Kdamond) -> None:
    """Make the kernel clear the regions that it wrote, as they take memory."""
    try:
        execute.perform(machine, Operation.command(kdamond.slot, "clear_schemes_tried_regions"))
    except OperationFailed:
        return  # it has ended meanwhile, and they with it


def read(machine: Machine, kdamond: Kdamond) -> list[Series]:
    """Return the current content of its schemes' `tried_regions/`: one snapshot each."""
    return [_snapshot(machine, kdamond, *each) for each in enumerate(kdamond.schemes)]


def look(machine: Machine, kdamond: Kdamond) -> list[Series]:
    """Request and read regions, and restore `tried_regions/`: one snapshot per scheme.

    The caller holds the machine (`engine.session.looking`): during somebody's change the command
    would find half-written files. Raises Busy if the kdamond does not answer.
    """
    before = told(machine, kdamond)
    try:
        ask(machine, kdamond)
        return read(machine, kdamond)
    finally:
        if not before:
            clear(machine, kdamond)


def now(machine: Machine, kdamond: Kdamond) -> list[dict[str, int | None] | None]:
    """Request the regions that each scheme tries now, and return their size; None if impossible.

    ``passed_bytes`` is None without a page filter. The caller holds the machine, as for `look`.
    Raises Busy if the kdamond does not answer.
    """
    if obstacle(machine, kdamond) or held_for(kdamond) > _PATIENCE:
        return [None] * len(kdamond.schemes)
    return [
        {
            "bytes": each.regions.total,
            "regions": len(each.regions),
            "passed_bytes": _passed(scheme, each.regions),
        }
        for scheme, each in zip(kdamond.schemes, look(machine, kdamond), strict=True)
    ]


def _passed(scheme: Scheme, regions: Regions) -> int | None:
    """Return the bytes that passed the page filters of a scheme, None if unknown."""
    if regions.passed is not None:
        return int(regions.passed.sum())
    shown = scheme.stats.sz_ops_filter_passed.present
    return 0 if shown and asks_pages(scheme.tree, scheme.path) and not len(regions) else None


def told(machine: Machine, kdamond: Kdamond) -> bool:
    """Return whether somebody has requested regions, and has not cleared them."""
    return any(
        entry.is_dir for each in kdamond.schemes for entry in machine.scan(_regions(kdamond, each))
    )


def source(machine: Machine, kdamond: Kdamond, **more: Any) -> Source:
    """Return the source of a kdamond's regions; ``more`` is about its scheme or trace events.

    Targets have the names of processes that are alive.
    """
    return Source(
        kdamond.name,
        ops=kdamond.files.ops.text,
        probes=kdamond.probes,
        targets=tuple(
            replace(each, process=visible(read_or(machine, f"/proc/{each.pid}/comm"), kept=""))
            if each.pid
            else each
            for each in facts.targets(kdamond.tree)
        ),
        accesses=facts.accesses(kdamond.tree),
        weights=kdamond.weights,
        tuned=kdamond.tuned,
        **more,
    )


def _only_target(scheme: Scheme) -> int:
    """Return the only target that a scheme's core filters allow, -1 if there are more."""
    for each in chain(scheme.core_filters, scheme.filters):
        if each.type.text == "target" and each.matching.yes == each.allow.yes:
            return each.target.number
    return UNKNOWN


def _snapshot(machine: Machine, kdamond: Kdamond, number: int, scheme: Scheme) -> Series:
    """Read the regions of one scheme; addresses are in units of ``addr_unit`` bytes."""
    of = source(
        machine,
        kdamond,
        scheme=kdamond.name_of(scheme),
        target=0 if len(kdamond.files.targets) == 1 else _only_target(scheme),
        slot=kdamond.slot,
        scheme_index=number,
        filters=filters(scheme.tree, scheme.path),
    )
    directory = _regions(kdamond, scheme)
    unit = kdamond.files.addr_unit.number
    names = [entry.name for entry in machine.scan(directory) if entry.is_dir]
    below = TriedRegion()
    files = [below.start, below.end, below.nr_accesses, below.age]
    if (
        names
        and asks_pages(kdamond.tree, scheme.path)
        and machine.exists(f"{directory}/{names[0]}/{below.filter_passed.path}")
    ):
        files.append(below.filter_passed)
    probes = [below.probes[index].hits for index in range(len(of.probes))]
    paths = [each.path for each in (*files, *probes)]
    rows = [
        [int(machine.read_bytes(f"{directory}/{name}/{path}")) for path in paths] for name in names
    ]
    start, end, counts, ages, *passed = ([row[at] for row in rows] for at in range(len(files)))
    regions = Regions.of(
        [each * unit for each in start],
        [each * unit for each in end],
        counts,
        ages,
        target=[of.target] * len(names),
        passed=[each * unit for each in passed[0]] if passed else None,
        hits=[row[len(files) :] for row in rows] if probes and rows else None,
    )
    held = kdamond.files.intervals
    sample, aggregation = (
        int(read_or(machine, kdamond_path(kdamond.slot, each.path), "0"))
        for each in (held.sample, held.aggregation)
    )
    now = time.time_ns()
    begin = now - aggregation * 1000
    return series_of(of, [(begin, now, Intervals(sample, aggregation), regions)])
