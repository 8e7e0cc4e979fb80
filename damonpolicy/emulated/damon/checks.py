"""The kernel's checks when a kdamond is started or changed (mm/damon/sysfs.c).

Writes to files check none of this: min above max, dead processes and missing paths can all be
staged. Errnos and their order were compared with Linux 6.12, 6.18 and 7.3.
"""

from __future__ import annotations

import errno
from itertools import pairwise
from typing import Any

from damonpolicy.emulated.damon.table import Directory, get, number, numbered
from damonpolicy.emulated.values import Refusal
from damonpolicy.emulated.world import World

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

_PAGE = 4096
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_NODE_METRICS = ("node_mem_used_bp", "node_mem_free_bp")
_CGROUP_METRICS = ("node_memcg_used_bp", "node_memcg_free_bp")


def check(world: World, context: Directory) -> list[dict[str, Any]]:
    """Check the staged files of a context, and return its `targets`.

    Raises Refusal with EINVAL, and with ENOMEM if a scheme is wrong: the kernel makes schemes with
    a function that can only return NULL. `committable` comes after this.
    """
    _check_attributes(context["monitoring_attrs"])
    _check_probes(world, context["monitoring_attrs"])
    found = targets(world, context)
    for scheme in numbered(context["schemes"]):
        for layer in ("filters", "core_filters", "ops_filters"):
            for each in numbered(scheme.get(layer, {})):
                _check_filter(world, each)
        check_goals(world, scheme, errno.ENOMEM)
    return found


def _check_attributes(attributes: Directory) -> None:
    """Refuse attributes that damon_set_attrs() refuses."""
    sample, aggregation = (
        number(attributes, f"intervals/{name}") for name in ("sample_us", "aggr_us")
    )
    low, high = number(attributes, "nr_regions/min"), number(attributes, "nr_regions/max")
    if low < 3 or low > high or sample > aggregation:
        raise Refusal(errno.EINVAL)
    goal = attributes["intervals"].get("intervals_goal", {})
    if number(goal, "aggrs"):
        least, most = number(goal, "min_sample_us"), number(goal, "max_sample_us")
        if not least <= sample <= most:
            raise Refusal(errno.EINVAL)


def _check_probes(world: World, attributes: Directory) -> None:
    """Refuse probes that could overflow, or without a cgroup, and samples without a primitive."""
    probes = numbered(attributes.get("probes", {}))
    weight = sum(number(each, "weight") for each in probes)
    samples = number(attributes, "intervals/aggr_us") // max(
        number(attributes, "intervals/sample_us"), 1
    )
    if weight and (samples > 255 or weight * samples > _U32):
        raise Refusal(errno.EINVAL)
    for probe in probes:
        for each in numbered(probe["filters"]):
            if each["type"] == "memcg" and not world.memory_cgroup(each["path"]):
                raise Refusal(errno.EINVAL)
    primitives = attributes.get("sample", {}).get("primitives")
    if primitives and primitives["page_table"] == primitives["page_fault"]:
        raise Refusal(errno.EINVAL)


def targets(world: World, context: Directory) -> list[dict[str, Any]]:
    """Return the staged targets: the process by pid and start time, and aligned regions."""
    physical = context["operations"] == "paddr"
    staged = numbered(context["targets"])
    if physical and len(staged) > 1:
        raise Refusal(errno.EINVAL)
    found = []
    for each in staged:
        pid, start = number(each, "pid_target"), 0
        if not physical:
            process = world.processes.get(str(pid))
            if process is None:
                raise Refusal(errno.EINVAL)
            start = process["start"]
        found.append(
            {
                "pid": pid,
                "start": start,
                "obsolete": get(each, "obsolete_target", "N") == "Y",
                "regions": _ranges(world, context, each["regions"]),
            }
        )
    return found


def _least(world: World, context: Directory) -> int:
    """Return the smallest region in core units (mm/damon/sysfs.c: damon_sysfs_apply_inputs())."""
    if context["operations"] != "paddr" or not world.profile.has("addr_unit"):
        return _PAGE
    return max(_PAGE // number(context, "addr_unit"), 1)


def _ranges(world: World, context: Directory, regions: Directory) -> list[tuple[int, int]]:
    """Return the regions of a target, aligned outward as damon_set_regions() does it."""
    raw, least = world.profile.quirk("regions.raw"), _least(world, context)
    order = world.profile.quirk("regions.order")
    found: list[tuple[int, int]] = []
    last = 0
    for each in numbered(regions):
        start, end = number(each, "start"), number(each, "end")
        if last > start or (order and start > end):
            raise Refusal(errno.EINVAL)
        last = end
        start, end = start // least * least, -(-end // least) * least & _U64
        if not raw and (start >= end or (found and found[-1][1] > start)):
            raise Refusal(errno.EINVAL)
        found.append((start, end))
    return found


def _check_filter(world: World, each: Directory) -> None:
    kind = each["type"]
    if (
        (kind == "memcg" and not world.memory_cgroup(each["memcg_path"]))
        or (kind == "addr" and number(each, "addr_start") > number(each, "addr_end"))
        or (kind == "hugepage_size" and number(each, "min") > number(each, "max"))
    ):
        raise Refusal(errno.ENOMEM)


def _goals(scheme: Directory) -> list[Directory]:
    """Return the goals that count: those with a target of 0 are skipped."""
    goals = numbered(scheme.get("quotas", {}).get("goals", {}))
    return [each for each in goals if number(each, "target_value")]


def check_goals(world: World, scheme: Directory, number_: int) -> None:
    """Refuse goals on missing cgroups, with the errno of the caller's path."""
    for each in _goals(scheme):
        if get(each, "target_metric") in _CGROUP_METRICS and not world.memory_cgroup(each["path"]):
            raise Refusal(number_)


def cgroups(world: World, directory: Directory) -> dict[str, int]:
    """Return the current ids of the cgroups that files of a directory name."""
    found: dict[str, int] = {}
    for name, inside in directory.items():
        if isinstance(inside, dict):
            found |= cgroups(world, inside)
        elif name in ("memcg_path", "path") and inside:
            found[inside] = world.memory_cgroup(inside)
    return found


def goal_cgroups(world: World, context: Directory) -> dict[str, int]:
    """Do the same for only the goals of all schemes."""
    found: dict[str, int] = {}
    for scheme in numbered(context["schemes"]):
        for goal in _goals(scheme):
            found |= cgroups(world, goal)
    return found


def _even(world: World, context: Directory) -> bool:
    """Return whether the smallest region is a power of two."""
    least = _least(world, context)
    return not least & (least - 1)


def startable(world: World, context: Directory, targets_: list[dict[str, Any]]) -> bool:
    """Return whether a kdamond can be started with a checked context."""
    if world.profile.quirk("start.unchecked"):
        return _even(world, context) or world.profile.quirk("units.raw")
    return committable(world, context) and not any(each["obsolete"] for each in targets_)


def committable(world: World, context: Directory) -> bool:
    """Return whether damon_commit_ctx() accepts a context, checked or already running."""
    if not _even(world, context) and not world.profile.quirk("units.commit"):
        return False
    return context["operations"] == "paddr" or not any(
        get(goal, "target_metric") == "node_eligible_mem_bp"
        for scheme in numbered(context["schemes"])
        for goal in _goals(scheme)
    )


def oopses(world: World, context: Directory) -> str:
    """Return how running a context would wreck a kernel, or an empty text."""
    nodes = range(len(world.spec.nodes))
    if world.profile.quirk("goal.oops"):
        for scheme in numbered(context["schemes"]):
            for each in _goals(scheme):
                measured = get(each, "target_metric") in (*_NODE_METRICS, *_CGROUP_METRICS)
                if measured and int(each["nid"]) not in nodes:
                    return f"a quota goal on node {each['nid']}, which is not there"
    for target in numbered(context["targets"]) if world.profile.quirk("regions.raw") else ():
        spots = [
            number(each, "start") if each["start"] == each["end"] else -1
            for each in numbered(target["regions"])
        ]
        if any(one == other and one % _PAGE == 0 for one, other in pairwise(spots)):
            return "two empty regions at one address: merging them divides by zero"
    for each in numbered(context["monitoring_attrs"].get("sample", {}).get("filters", {})):
        if each["type"] == "threads" and not each["tid_arr"]:
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
