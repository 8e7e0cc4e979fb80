"""What a real kernel can bear, and what it has no choice about.

To bear is to go on answering soon, and without filling the memory.

Nothing here wrecks a kernel at once. But a kdamond that sleeps for hours lets commands wait
as long, with the lock of all of DAMON's files held; one that pages out 16 EiB, page by page,
never ends; and regions are real memory.
"""

from __future__ import annotations

from damonpolicy.emulated.modules import MODULES
from damonpolicy.emulated.monitor import get, number, numbered
from damonpolicy.emulated.table import Directory

from .answers import Step
from .players import EmulatedPlayer
from .script.words import PAGE

__all__ = ("bearable", "bearable_module", "certain")

_SAMPLE_US = 20_000
_LONG_US = 100_000
"""Most for aggregations, applications of schemes and looks at watermarks."""
_TUNED_US = 200_000
_REGIONS = 1000
_MOST = (1 << 32) - 1
_BYTES = 64 << 20
_MODULE_BYTES = 4 << 30
"""A module monitors all memory of the guest unless it is told otherwise."""


def bearable(context: Directory) -> bool:
    """Tell whether a kernel can bear that a kdamond runs the files of a context."""
    attributes = context["monitoring_attrs"]
    intervals = attributes["intervals"]
    sample, aggregation = number(intervals, "sample_us"), number(intervals, "aggr_us")
    if sample > _SAMPLE_US or aggregation > _LONG_US:
        return False
    if number(attributes, "nr_regions/min") > _REGIONS:
        return False
    if number(intervals, "intervals_goal/aggrs"):
        most = number(intervals, "intervals_goal/max_sample_us")
        if most > _SAMPLE_US or not sample or aggregation * most // sample > _TUNED_US:
            return False
    return _bearable_size(context) and all(
        number(scheme, "apply_interval_us") <= _LONG_US
        and (
            get(scheme, "watermarks/metric") == "none"
            or number(scheme, "watermarks/interval_us") <= _LONG_US
        )
        for scheme in numbered(context["schemes"])
    )


def _bearable_size(context: Directory) -> bool:
    unit = number(context, "addr_unit") or 1
    size = sum(
        max(number(region, "end") - number(region, "start"), 0)
        for target in numbered(context["targets"])
        for region in numbered(target["regions"])
    )
    return size * unit <= _BYTES


def bearable_module(player: EmulatedPlayer, step: Step) -> bool:
    """Tell whether a kernel can bear what a module's parameter was just set to."""
    module = next((each.module for each in MODULES if each.path == step.path), "")
    if not module or module == "damon_stat":
        return True

    def value(name: str) -> int:
        path = f"/sys/module/{module}/parameters/{name}"
        return int(player.machine.read(path)) if player.machine.exists(path) else 1

    running = player.machine.read(f"/sys/module/{module}/parameters/enabled") == "Y\n"
    size = value("monitor_region_end") - value("monitor_region_start")
    return not running or (
        value("sample_interval") <= _SAMPLE_US
        and value("aggr_interval") <= _LONG_US
        and value("wmarks_interval") <= _LONG_US
        and value("min_nr_regions") <= _REGIONS
        and 0 <= size * value("addr_unit") <= _MODULE_BYTES
    )


def certain(player: EmulatedPlayer, slot: str) -> bool:
    """Tell whether the regions that a kdamond tries hang neither on time nor on memory.

    So it is where all regions are pages by themselves, too few to be merged, of which nobody
    knows when they were accessed: those of the kernel's text.
    """
    running = player.machine._kdamonds.running(slot)
    if not running:
        return True
    tree = running["tree"]
    regions = [region for target in running["targets"] for region in target["regions"]]
    return (
        tree["operations"] == "paddr"
        and get(tree, "addr_unit", "1") == "1"
        and all(end - start == PAGE and start < _BYTES for start, end in regions)
        and len(regions) <= number(tree, "monitoring_attrs/nr_regions/min")
        and all(_tries_always(scheme) for scheme in numbered(tree["schemes"]))
    )


def _tries_always(scheme: Directory) -> bool:
    """Tell whether a scheme looks at neither ages, quotas nor watermarks."""
    low, high = (number(scheme, f"access_pattern/age/{end}") & _MOST for end in ("min", "max"))
    limits = ("quotas/ms", "quotas/bytes", "quotas/goals/nr_goals", "stats/max_nr_snapshots")
    return (
        (low == 0 < high >> 31)
        and not any(number(scheme, each) for each in limits)
        and get(scheme, "watermarks/metric") == "none"
    )
