"""Operations that a real kernel survives, and those with a single outcome.

To bear is to go on answering soon, and without filling the memory.

Nothing here wrecks a kernel at once. But a kdamond that sleeps for hours lets commands wait
as long, with the lock of all of DAMON's files held; one that pages out 16 EiB, page by page,
never ends; and regions are real memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from damonpolicy.emulated.damon.table import Directory, Files, inside, look
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.emulated.values import Refusal
from damonpolicy.kernel.damon.modules import ALL
from damonpolicy.kernel.damon.view import Kdamond, Scheme

from .answers import Step
from .players import EmulatedPlayer
from .script.words import PAGE

__all__ = ("bearable", "bearable_module", "certain")

_SAMPLE_US = 20_000
_LONG_US = 100_000
"""Most for aggregations, applications of schemes and looks at watermarks."""
_REGIONS = 1000
_MOST = (1 << 32) - 1
_BYTES = 64 << 20
_MODULE_BYTES = 4 << 30
"""A module monitors all memory of the guest unless a region is set."""


def bearable(running: Mapping[str, Any], staged: Directory) -> bool:
    """Return whether a kernel can bear what a kdamond runs, with what is staged for it."""
    runs, files = look(running["tree"]), Kdamond(Files(staged))
    intervals, goal = runs.intervals, runs.intervals.auto_tune
    sample, aggregation = intervals.sample.number, intervals.aggregation.number
    if sample > _SAMPLE_US or aggregation > _LONG_US:
        return False
    if runs.region_count.min.number > _REGIONS:
        return False
    if goal.aggregations.number:
        # tuned intervals depend on accesses, so goals are set to what is there
        limits = {goal.min_sample.number, goal.max_sample.number}
        if limits != {sample} or not sample or aggregation % sample:
            return False
    if files.refresh.number and not _same_intervals(runs, files):
        return False
    return _bearable_size(runs, running["targets"]) and all(
        scheme.apply_every.number <= _LONG_US
        and (scheme.watermarks.metric.text == "none" or scheme.watermarks.every.number <= _LONG_US)
        for scheme in runs.schemes
    )


def _same_intervals(runs: Kdamond, staged: Kdamond) -> bool:
    """Return whether it makes no difference when a kdamond writes its intervals to the files."""
    one, other = runs.intervals, staged.intervals
    return not inside(other) or (one.sample.text, one.aggregation.text) == (
        other.sample.text, other.aggregation.text,
    )  # fmt: skip


def _bearable_size(runs: Kdamond, targets: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether regions are small; what units make of a process' own is large."""
    unit = runs.addr_unit.number
    regions = [each["regions"] for each in targets]
    if unit > 1 and runs.ops.text == "paddr" and not all(regions):
        return False
    return sum(end - start for each in regions for start, end in each) * unit <= _BYTES


def bearable_module(player: EmulatedPlayer, step: Step) -> bool:
    """Return whether a kernel can bear what a module's parameter was just set to."""
    module = next((each.module for each in ALL if each.path == step.path), "")
    if not module or module == "damon_stat":
        return True

    def value(name: str) -> int:
        path = f"/sys/module/{module}/parameters/{name}"
        return int(player.machine.read(path)) if player.machine.exists(path) else 1

    running = player.machine.read(f"/sys/module/{module}/parameters/enabled") == "Y\n"
    if running and _ends_late(player.machine, module):
        return False
    size = value("monitor_region_end") - value("monitor_region_start")
    return not running or (
        value("sample_interval") <= _SAMPLE_US
        and value("aggr_interval") <= _LONG_US
        and value("wmarks_interval") <= _LONG_US
        and value("min_nr_regions") <= _REGIONS
        and 0 <= size * value("addr_unit") <= _MODULE_BYTES
    )


def _ends_late(machine: EmulatedMachine, module: str) -> bool:
    """Return whether a module's kdamond ends once it sees its new parameters; on some, for ever."""
    if machine._world.state["modules"][module]["asked"] is None:
        return False
    try:
        machine._modules._check(module)
    except Refusal:
        return True
    return False


def certain(player: EmulatedPlayer, slot: str) -> bool:
    """Return whether the regions that a kdamond tries hang neither on time nor on memory.

    So it is where all regions are single pages, too few to be merged, of which nobody
    knows when they were accessed: those of the kernel's text.
    """
    running = player.machine._kdamonds.running(slot)
    if not running:
        return True
    runs = look(running["tree"])
    regions = [region for target in running["targets"] for region in target["regions"]]
    sizes = (0, PAGE) if len(regions) == 1 else (PAGE,)  # an empty one is merged with another
    return (
        runs.ops.text == "paddr"
        and runs.addr_unit.number == 1
        and all(end - start in sizes and start < _BYTES for start, end in regions)
        and len(regions) <= runs.region_count.min.number
        and all(map(_tries_always, runs.schemes))
    )


def _tries_always(scheme: Scheme) -> bool:
    """Return whether a scheme looks at neither ages, quotas nor watermarks."""
    age, quota = scheme.access_pattern.age, scheme.quota
    low, high = age.min.number & _MOST, age.max.number & _MOST
    limits = (quota.time, quota.size, quota.goals.count, scheme.stats.max_snapshots)
    return (
        (low == 0 < high >> 31)
        and not any(each.number for each in limits)
        and scheme.watermarks.metric.text == "none"
    )
