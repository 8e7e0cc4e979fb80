"""The kernel's checks when a kdamond is started or changed (mm/damon/sysfs.c).

Writes to files check none of this: min above max, dead processes and missing paths can all be
staged. Errnos and their order were compared with Linux 6.12, 6.18 and 7.3.
"""

from __future__ import annotations

import errno
from itertools import pairwise
from typing import Any

from damonpolicy.emulated.damon.monitor import filters
from damonpolicy.emulated.damon.quotas import goals
from damonpolicy.emulated.damon.regions import PAGE
from damonpolicy.emulated.values import Refusal
from damonpolicy.emulated.world import World
from damonpolicy.kernel.damon.directory import Numbered
from damonpolicy.kernel.damon.view import Filter, Kdamond, Region, Scheme

__all__ = (
    "cgroups",
    "check",
    "check_goals",
    "committable",
    "goal_cgroups",
    "oopses",
    "startable",
    "targets",
    "unmergeable",
)

_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_NODE_METRICS = ("node_mem_used_bp", "node_mem_free_bp")
_CGROUP_METRICS = ("node_memcg_used_bp", "node_memcg_free_bp")


def check(world: World, staged: Kdamond) -> list[dict[str, Any]]:
    """Check the staged files of a context, and return its `targets`.

    Raises Refusal with EINVAL, and with ENOMEM if a scheme is wrong: the kernel makes schemes with
    a function that can only return NULL. `committable` comes after this.
    """
    _check_attributes(staged)
    _check_probes(world, staged)
    found = targets(world, staged)
    for scheme in staged.schemes:
        for each in filters(scheme):
            _check_filter(world, each)
        check_goals(world, scheme, errno.ENOMEM)
    return found


def _check_attributes(staged: Kdamond) -> None:
    """Refuse attributes that damon_set_attrs() refuses."""
    intervals, goal = staged.intervals, staged.intervals.auto_tune
    low, high = staged.region_count.min.number, staged.region_count.max.number
    if low < 3 or low > high or intervals.sample.number > intervals.aggregation.number:
        raise Refusal(errno.EINVAL)
    least, most = goal.min_sample.number, goal.max_sample.number
    if goal.aggregations.number and not least <= intervals.sample.number <= most:
        raise Refusal(errno.EINVAL)


def _check_probes(world: World, staged: Kdamond) -> None:
    """Refuse probes that could overflow, or without a cgroup, and samples without a primitive."""
    weight = sum(each.weight.number for each in staged.probes)
    most = staged.intervals.aggregation.number // max(staged.intervals.sample.number, 1)
    if weight and (most > 255 or weight * most > _U32):
        raise Refusal(errno.EINVAL)
    for probe in staged.probes:
        for each in probe.filters:
            if each.type.text == "memcg" and not world.memory_cgroup(each.memcg.text):
                raise Refusal(errno.EINVAL)
    if staged.sample.page_table.yes == staged.sample.page_fault.yes:
        raise Refusal(errno.EINVAL)


def targets(world: World, staged: Kdamond) -> list[dict[str, Any]]:
    """Return the staged targets: the process by pid and start time, and aligned regions."""
    physical = staged.ops.text == "paddr"
    if physical and len(staged.targets) > 1:
        raise Refusal(errno.EINVAL)
    found = []
    for each in staged.targets:
        pid, start = each.pid.number, 0
        if not physical:
            process = world.processes.get(str(pid))
            if process is None:
                raise Refusal(errno.EINVAL)
            start = process["start"]
        regions = _ranges(world, _least(staged), each.regions)
        found.append(
            {"pid": pid, "start": start, "obsolete": each.obsolete.yes, "regions": regions}
        )
    return found


def _least(staged: Kdamond) -> int:
    """Return the smallest region in core units (mm/damon/sysfs.c: damon_sysfs_apply_inputs())."""
    return max(PAGE // staged.addr_unit.number, 1) if staged.ops.text == "paddr" else PAGE


def _ranges(world: World, least: int, regions: Numbered[Region]) -> list[tuple[int, int]]:
    """Return the regions of a target, aligned outward as damon_set_regions() does it."""
    raw, order = world.profile.quirk("regions.raw"), world.profile.quirk("regions.order")
    found: list[tuple[int, int]] = []
    last = 0
    for each in regions:
        start, end = each.start.number, each.end.number
        if last > start or (order and start > end):
            raise Refusal(errno.EINVAL)
        last = end
        start, end = start // least * least, -(-end // least) * least & _U64
        if not raw and (start >= end or (found and found[-1][1] > start)):
            raise Refusal(errno.EINVAL)
        found.append((start, end))
    return found


def _check_filter(world: World, each: Filter) -> None:
    kind = each.type.text
    if (
        (kind == "memcg" and not world.memory_cgroup(each.memcg.text))
        or (kind == "addr" and each.start.number > each.end.number)
        or (kind == "hugepage_size" and each.min.number > each.max.number)
    ):
        raise Refusal(errno.ENOMEM)


def check_goals(world: World, scheme: Scheme, number: int) -> None:
    """Refuse goals on missing cgroups, with the errno of the caller's path."""
    for each in goals(scheme):
        if each.metric.text in _CGROUP_METRICS and not world.memory_cgroup(each.cgroup.text):
            raise Refusal(number)


def cgroups(world: World, files: Kdamond) -> dict[str, int]:
    """Return the current ids of the cgroups that filters name."""
    paths = {each.memcg.text for scheme in files.schemes for each in filters(scheme)}
    paths |= {each.memcg.text for probe in files.probes for each in probe.filters}
    return {path: world.memory_cgroup(path) for path in paths if path}


def goal_cgroups(world: World, files: Kdamond) -> dict[str, int]:
    """Do the same for only the goals of all schemes."""
    paths = (goal.cgroup.text for scheme in files.schemes for goal in goals(scheme))
    return {path: world.memory_cgroup(path) for path in paths if path}


def _even(files: Kdamond) -> bool:
    """Return whether the smallest region is a power of two."""
    least = _least(files)
    return not least & (least - 1)


def startable(world: World, staged: Kdamond, found: list[dict[str, Any]]) -> bool:
    """Return whether a kdamond can be started with a checked context and its targets."""
    if world.profile.quirk("start.unchecked"):
        return _even(staged) or world.profile.quirk("units.raw")
    return committable(world, staged) and not any(each["obsolete"] for each in found)


def committable(world: World, files: Kdamond) -> bool:
    """Return whether damon_commit_ctx() accepts a context, checked or already running."""
    if not _even(files) and not world.profile.quirk("units.commit"):
        return False
    return files.ops.text == "paddr" or not any(
        goal.metric.text == "node_eligible_mem_bp"
        for scheme in files.schemes
        for goal in goals(scheme)
    )


def oopses(world: World, files: Kdamond) -> str:
    """Return how running a context would wreck a kernel, or an empty text."""
    nodes = range(len(world.spec.nodes))
    if world.profile.quirk("goal.oops"):
        for each in (goal for scheme in files.schemes for goal in goals(scheme)):
            measured = each.metric.text in (*_NODE_METRICS, *_CGROUP_METRICS)
            if measured and each.node.number not in nodes:
                return f"a quota goal on node {each.node.number}, which is not there"
    for target in files.targets if world.profile.quirk("regions.raw") else ():
        ends = ((each.start.number, each.end.number) for each in target.regions)
        spots = [start if start == end else -1 for start, end in ends]
        if any(one == other and one % PAGE == 0 for one, other in pairwise(spots)):
            return "two empty regions at one address: merging them divides by zero"
    if any(each.type.text == "threads" and not each.threads.text for each in files.sample.filters):
        return "a sample filter on threads without any thread id"
    return ""


def unmergeable(world: World, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> str:
    """Return how new regions of targets would wreck a kernel, or an empty text.

    It fills the gap between two regions, which is negative if they share a page
    (mm/damon/core.c of 6.18: damon_fill_regions_holes()).
    """
    shared = world.profile.quirk("regions.raw") and any(
        after["regions"] and any(one[1] > other[0] for one, other in pairwise(before["regions"]))
        for before, after in zip(old, new, strict=False)
    )
    return "changing a target whose regions share a page divides by zero" if shared else ""
