"""A simple, deterministic model of schemes' work on regions.

Formulas are those of mm/damon/core.c of Linux 7.3: damon_feed_loop_next_input(),
kdamond_tune_intervals(), damos_set_effective_quota(), damos_core_filter_out(). Time passes in
steps: the current state counts for all the time since the last look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from damonpolicy.emulated.damon.regions import PAGE, Region, regions, samples_of
from damonpolicy.emulated.damon.table import Directory, get, number, numbered
from damonpolicy.emulated.world import World
from damonpolicy.kernel.damon.actions import traits as traits_of
from damonpolicy.kernel.damon.tree import CORE

__all__ = ("applied", "hits", "next_input", "passed", "tried", "tuned")

_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1


def _filters(scheme: Directory, *, core: bool) -> list[Directory]:
    """Return a scheme's filters of one layer, in the kernel's order.

    Their type alone decides the layer, not their directory (damos_add_filter()).
    """
    return [
        each
        for name in ("core_filters", "ops_filters", "filters")
        for each in numbered(scheme.get(name, {}))
        if (each["type"] in CORE) == core
    ]


def _verdict(matches: Iterator[bool], filters: list[Directory], *, default: bool) -> bool:
    """Return whether memory passes: the first match decides.

    Without an ``allow`` file (before 6.14) every filter rejects.
    """
    for matched, each in zip(matches, filters, strict=True):
        if matched == (each["matching"] == "Y"):
            return bool(each.get("allow", "N") == "Y")
    return default


def _default(filters: list[Directory]) -> bool:
    return not filters or filters[-1].get("allow", "N") != "Y"


def tried(world: World, running: dict[str, Any], scheme: Directory) -> list[Region]:
    """Return the regions that a scheme's access pattern and core filters select."""
    # counts and ages are `unsigned int` in the kernel, and truncated
    widths = {"sz": _U64, "nr_accesses": _U32, "age": _U32}
    low, high = (
        [number(scheme, f"access_pattern/{name}/{end}") & width for name, width in widths.items()]
        for end in ("min", "max")
    )
    core, ops = _filters(scheme, core=True), _filters(scheme, core=False)
    default = True if ops else _default(core)
    result = []
    for region in regions(world, running):
        seen = (region.size, region.accesses, region.age)
        if all(least <= value <= most for least, value, most in zip(low, seen, high, strict=True)):
            for piece in _split(region, core):
                matches = (_core_match(piece, each) for each in core)
                if _verdict(matches, core, default=default):
                    result.append(piece)
    return result


def _split(region: Region, core: list[Directory]) -> list[Region]:
    """Split a region at the ends of address filters."""
    borders = {region.start, region.end}
    for each in core:
        if each["type"] == "addr":
            ends = (number(each, "addr_start"), number(each, "addr_end"))
            borders |= {end // PAGE * PAGE for end in ends if region.start < end < region.end}
    marks = sorted(border for border in borders if region.start <= border <= region.end)
    if len(marks) == 1:
        return [region]
    return [replace(region, start=low, end=high) for low, high in pairwise(marks) if low < high]


def _core_match(region: Region, each: Directory) -> bool:
    if each["type"] == "target":
        return region.target == int(each["damon_target_idx"])
    low, high = (number(each, name) // PAGE * PAGE for name in ("addr_start", "addr_end"))
    return low <= region.start and region.end <= high


def _ops_match(running: dict[str, Any], region: Region, each: Directory) -> bool:
    area, kind = region.area, each["type"]
    if area is None:
        return bool(kind == "unmapped")
    if kind == "anon":
        return bool(area["anon"])
    if kind in ("young", "active"):
        return bool(area["rate"])
    if kind == "memcg":
        path = get(each, "memcg_path", get(each, "path"))
        wanted: int = running["cgroups"][path]  # the cgroup that has its path now
        return region.cgroup == wanted
    if kind == "hugepage_size":
        size = 2 << 20 if area["huge"] else PAGE
        return number(each, "min") <= size <= number(each, "max")
    return False


def passed(world: World, running: dict[str, Any], scheme: Directory, region: Region) -> int:
    """Return the part of a region that passes the page-level filters, as statistics count it."""
    filters, action = _filters(scheme, core=False), get(scheme, "action")
    profile = world.profile
    if running["ops"] != "paddr":
        honours = {"stat": "filters.vaddr_stat"}.get(action, "migrate.vaddr")
        moves = action in ("stat", "migrate_hot", "migrate_cold")
        if not moves or not profile.has(honours):
            return 0
    if region.area is None or (action == "stat" and not filters):
        return 0
    core = _filters(scheme, core=True)
    if profile.quirk("filters.not") and any(each["matching"] == "N" for each in core):
        return 0
    if _verdict((_core_match(region, each) for each in core), core, default=False):
        return region.memory  # finally allowed (damos->core_filters_allowed)
    if action == "pageout" and not any(each["type"] == "young" for each in filters):
        filters = [*filters, {"type": "young", "matching": "Y", "allow": "N"}]
    matches = (_ops_match(running, region, each) for each in filters)
    default = _default(_filters(scheme, core=False))
    return region.memory if _verdict(matches, filters, default=default) else 0


def hits(world: World, running: dict[str, Any], probe: Directory, region: Region) -> int:
    """Return the number of samples of an aggregation that a probe hits; it has 8 bits."""
    if running["ops"] != "paddr" and not world.profile.has("probe.preps"):
        return 0
    filters = numbered(probe["filters"])
    matches = (_ops_match(running, region, each) for each in filters)
    there = region.area is not None or world.profile.quirk("probe.void")
    found = there and _verdict(matches, filters, default=_default(filters))
    return min(samples_of(running), 255) if found else 0


def applied(world: World, running: dict[str, Any], scheme: Directory, region: Region) -> int:
    """Return the part of a region that a scheme's action is applied to."""
    action = get(scheme, "action")
    moves = action in ("migrate_hot", "migrate_cold")
    physical = running["ops"] == "paddr"
    traits = traits_of(running["ops"], action)
    works = traits.works and (not traits.needs or world.profile.has(traits.needs))
    if region.area is None or action == "stat" or not works:
        return 0
    if moves and not _destination(world, scheme, region.area, physical=physical):
        return 0
    if physical or moves:
        return passed(world, running, scheme, region)
    return region.memory


def _destination(world: World, scheme: Directory, area: dict[str, Any], *, physical: bool) -> bool:
    """Return whether memory has another destination; paddr has only one."""
    dests = numbered(scheme.get("dests", {}))
    targets = [int(each["id"]) for each in dests if number(each, "weight")]
    if physical or not dests:
        targets = [number(scheme, "target_nid")]
    here = world.node_of(area["at"])
    return any(0 <= node < len(world.spec.nodes) and node != here for node in targets)


def next_input(last: int, score: int) -> int:
    """Return the next input of a feedback loop (damon_feed_loop_next_input())."""
    goal, least = 10_000, 10_000
    if score == goal:
        return last
    if score >= goal * 2:
        return least
    distance = abs(score - goal)
    change = last * distance // goal if last < _U64 // distance else last // goal * distance
    return max(last - change, least) if score > goal else min(last + change, _U64)


def tuned(world: World, running: dict[str, Any]) -> tuple[int, int]:
    """Return the sampling and aggregation intervals in µs after one more step of tuning."""
    goal = "monitoring_attrs/intervals/intervals_goal"
    tree, most = running["tree"], int(running["samples"])
    found = regions(world, running)
    events = sum(region.size * region.accesses for region in found)
    wanted = sum(region.size for region in found) * most * number(tree, f"{goal}/access_bp")
    score = events * 10_000 // max(wanted // 10_000, 1)
    step = next_input(100_000_000, score) // 10_000
    if step == 10_000:
        return int(running["sample"]), int(running["aggr"])
    step = step if step > 10_000 else 5000 + step // 2
    sample = min(number(tree, f"{goal}/max_sample_us"), int(running["sample"]) * step // 10_000)
    sample = max(number(tree, f"{goal}/min_sample_us"), sample)
    return sample, sample * most
