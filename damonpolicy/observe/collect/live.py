"""Requests to running kdamonds for the regions that their schemes try.

`update_schemes_tried_regions` makes the kernel write the regions that each scheme tries next into
`tried_regions/`. Until the last scheme has had its turn the kernel holds the one lock of all of
DAMON's files: so the duration is estimated first, and the command is never sent if it would not
end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.errors import Busy
from damonpolicy.engine import execute
from damonpolicy.engine.execute import OperationFailed
from damonpolicy.kernel.damon.features import first_kernel
from damonpolicy.kernel.damon.tree import Tree, asks_pages
from damonpolicy.kernel.operation import Operation, kdamond_path
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.observe.collect.running import Kdamond
from damonpolicy.observe.regions import UNKNOWN, Intervals, Regions, Series, Source, series_of
from damonpolicy.plan import facts
from damonpolicy.plan.facts import Target, accesses, filters

__all__ = (
    "UNTOLD",
    "ask",
    "clear",
    "held_for",
    "look",
    "now",
    "obstacle",
    "partial",
    "process_name",
    "read",
    "targets",
    "tells",
    "told",
)

_CONTEXT = "contexts/0"
_SCHEMES = f"{_CONTEXT}/schemes"
_INTERVALS = f"{_CONTEXT}/monitoring_attrs/intervals"
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
    aggregation = kdamond.intervals.aggregation
    turns = (
        int(kdamond.tree.get(f"{base}/apply_interval_us", "0")) or aggregation
        for base in kdamond.schemes
    )
    return (max(turns, default=0) + kdamond.intervals.sample) / 1e6


def partial(kdamond: Kdamond) -> bool:
    """Return whether regions may be missing, as each of its schemes selects some by pattern."""
    return not any(_takes_all(kdamond, base) for base in kdamond.schemes)


def _takes_all(kdamond: Kdamond, base: str) -> bool:
    """Return whether a pattern excludes no size, rate or age of a region."""
    pattern = f"{base}/access_pattern"
    most = (
        ("sz", 1, 1 << 63),
        ("nr_accesses", 0, kdamond.intervals.samples),
        ("age", 0, 1 << 31),
    )
    return all(
        int(kdamond.tree.get(f"{pattern}/{name}/min", "0")) <= lowest
        and int(kdamond.tree.get(f"{pattern}/{name}/max", "0")) >= highest
        for name, lowest, highest in most
    )


def tells(machine: Machine, kdamond: Kdamond) -> bool:
    """Return whether the kernel has files for the regions that schemes tried (since Linux 6.2)."""
    return all(
        machine.exists(kdamond_path(kdamond.slot, f"{base}/tried_regions"))
        for base in kdamond.schemes
    )


def obstacle(machine: Machine, kdamond: Kdamond) -> str:
    """Return why its regions cannot be requested; empty if they can.

    On some kernels the command would then never end, with the lock held (docs/kernel-quirks.md).
    """
    tree = kdamond.tree
    if kdamond.slot == UNKNOWN:
        return "a kernel module reports its regions by trace events only"
    if not kdamond.schemes:
        return "it has no scheme that reports regions"
    if not tells(machine, kdamond):
        return UNTOLD
    if tree.get(f"{_CONTEXT}/pause") == "Y":
        return "it is paused"
    if all(tree.get(f"{base}/watermarks/metric", "none") != "none" for base in kdamond.schemes):
        return "all of its schemes have watermarks, and may be asleep"
    if kdamond.tuned and _starved(kdamond):
        return "tuning its intervals may never let a scheme have its turn"
    return ""


def _starved(kdamond: Kdamond) -> bool:
    """Return whether a scheme waits longer than the shortest time between two tunings.

    Each tuning restarts its wait (mm/damon/core.c: damon_set_attrs()).
    """
    tree, goal = kdamond.tree, f"{_INTERVALS}/intervals_goal"
    shortest = int(tree.get(f"{goal}/min_sample_us", "0")) * kdamond.intervals.samples
    between = int(tree.get(f"{goal}/aggrs", "0")) * shortest
    return any(
        int(tree.get(f"{base}/apply_interval_us", "0")) > between for base in kdamond.schemes
    )


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


def read(machine: Machine, kdamond: Kdamond, schemes: Sequence[str] | None = None) -> list[Series]:
    """Return the current content of its schemes' `tried_regions/`: one snapshot each.

    ``schemes`` are directories (`contexts/0/schemes/1`); all of them by default.
    """
    return [
        _scheme(machine, kdamond, base, _aim(machine, kdamond, base))
        for base in (kdamond.schemes if schemes is None else schemes)
    ]


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
            "passed_bytes": _passed(kdamond, base, each),
        }
        for base, each in zip(kdamond.schemes, look(machine, kdamond), strict=True)
    ]


def _passed(kdamond: Kdamond, base: str, series: Series) -> int | None:
    """Return the bytes that passed the page filters of a scheme, None if unknown."""
    if series.regions.passed is not None:
        return int(series.regions.passed.sum())
    shown = f"{base}/stats/sz_ops_filter_passed" in kdamond.tree
    return 0 if asks_pages(kdamond.tree, base) and shown and not len(series.regions) else None


def told(machine: Machine, kdamond: Kdamond) -> bool:
    """Return whether somebody has requested regions, and has not cleared them."""
    return any(
        entry.is_dir
        for base in kdamond.schemes
        for entry in machine.scan(kdamond_path(kdamond.slot, f"{base}/tried_regions"))
    )


def _aim(machine: Machine, kdamond: Kdamond, base: str) -> Source:
    """Return the source of a scheme's regions."""
    tree = kdamond.tree
    count = int(tree.get(f"{_CONTEXT}/targets/nr_targets", "0"))
    return Source(
        kdamond=kdamond.name,
        scheme=kdamond.scheme_name(base),
        target=0 if count == 1 else _only_target(tree, base),
        slot=kdamond.slot,
        scheme_index=int(base.rpartition("/")[2]),
        ops=tree.get(f"{_CONTEXT}/operations", ""),
        filters=filters(tree, base),
        probes=kdamond.probes,
        targets=targets(machine, kdamond),
        accesses=accesses(tree),
        weights=kdamond.weights,
        tuned=kdamond.tuned,
    )


def targets(machine: Machine, kdamond: Kdamond) -> tuple[Target, ...]:
    """Return the targets of a kdamond, with the names of processes that are alive."""
    return tuple(
        replace(each, process=process_name(machine, each.pid)) if each.pid else each
        for each in facts.targets(kdamond.tree)
    )


def process_name(machine: Machine, pid: int) -> str:
    """Return the name of a process, empty if it is gone."""
    return visible(read_or(machine, f"/proc/{pid}/comm"), kept="")


def _only_target(tree: Tree, base: str) -> int:
    """Return the only target that a scheme's core filters allow, -1 if there are more."""
    for layer in ("core_filters", "filters"):
        for index in range(int(tree.get(f"{base}/{layer}/nr_filters", "0"))):
            here = f"{base}/{layer}/{index}"
            same = tree.get(f"{here}/matching") == tree.get(f"{here}/allow", "N")
            if tree.get(f"{here}/type") == "target" and same:
                return int(tree.get(f"{here}/damon_target_idx", "0"))
    return UNKNOWN


def _scheme(machine: Machine, kdamond: Kdamond, base: str, source: Source) -> Series:
    """Read the regions of one scheme; addresses are in units of ``addr_unit`` bytes."""
    directory = kdamond_path(kdamond.slot, f"{base}/tried_regions")
    unit = int(kdamond.tree.get(f"{_CONTEXT}/addr_unit", "1"))
    numbers = [entry.name for entry in machine.scan(directory) if entry.is_dir]
    names = ["start", "end", "nr_accesses", "age"]
    if (
        numbers
        and asks_pages(kdamond.tree, base)
        and machine.exists(f"{directory}/{numbers[0]}/sz_filter_passed")
    ):
        names.append("sz_filter_passed")
    columns = [
        [int(machine.read_bytes(f"{directory}/{number}/{name}")) for name in names]
        for number in numbers
    ]
    probes = range(len(source.probes))
    hits = [
        [int(machine.read_bytes(f"{directory}/{number}/probes/{probe}/hits")) for probe in probes]
        for number in numbers
    ]
    start, end, counts, ages, *passed = zip(*columns, strict=True) if columns else [()] * len(names)
    regions = Regions.of(
        [each * unit for each in start],
        [each * unit for each in end],
        counts,
        ages,
        target=[source.target] * len(numbers),
        passed=[each * unit for each in passed[0]] if passed else None,
        hits=hits if probes and numbers else None,
    )
    sample, aggregation = (
        int(read_or(machine, kdamond_path(kdamond.slot, f"{_INTERVALS}/{name}"), "0"))
        for name in ("sample_us", "aggr_us")
    )
    now = time.time_ns()
    intervals = Intervals(sample, aggregation, kdamond.intervals.update)
    return series_of(source, [(now - aggregation * 1000, now, intervals, regions)])
