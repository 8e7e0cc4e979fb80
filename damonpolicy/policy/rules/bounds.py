"""Rules on bounds that the kernel accepts, but that nothing can ever meet or exceed."""

from __future__ import annotations

from contextlib import suppress

from damonpolicy.base.errors import NoPermission
from damonpolicy.base.units import (
    U32_MAX,
    UnitError,
    approximate_bytes,
    format_bytes,
    format_duration,
)
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.memory import PAGE, Range, node_ram, system_ram, united
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.quotas import read_target
from damonpolicy.policy.model.scalars import Rate
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import Findings, Rules, readable, rule

__all__ = ("check", "check_sizes", "ranges")


check = Rules[[Scheme, Kdamond, Cursor]]()
"""The rules on a scheme that can never act, and on limits that never limit."""


@check.add
def _small_regions(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    most = scheme.access_pattern.size.max
    if most is not None and most < PAGE and kdamond.addr_unit == 1:
        message = "no region is smaller than 4KiB, so the scheme never matches"
        place = at("access_pattern", "size", "max")
        yield place.value.error("DP0259", message, "write at least `4KiB`, or leave it out")


@check.add
def _rate(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    least: Rate | None = scheme.access_pattern.access_rate.min
    most = kdamond.intervals.samples
    if least is not None and most < least.least(most) <= U32_MAX:
        message = f"an aggregation has {most} samples, so the scheme never matches"
        place = at("access_pattern", "access_rate", "min")
        yield place.value.error("DP0259", message, f"write at most `{most} samples`")


@check.add
def _awake(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    """Check that a scheme can ever be awake.

    It wakes below `mid`, and sleeps below `low` (mm/damon/core.c: damos_wmark_wait_us()).
    """
    marks = scheme.watermarks
    if marks is None or marks.metric == "none":
        return
    if int(marks.mid * 1000) == int(marks.low * 1000):
        message = "`mid` and `low` are the same: once the scheme is asleep, it never wakes"
        hint = "it is awake between them: write a smaller `low`, or a larger `mid`"
        yield at("watermarks", "mid").value.error("DP0259", message, hint)


@check.add
def _apply_every(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    every, sampling = scheme.apply_every, kdamond.intervals.sampling
    if every and every < sampling:
        message = f"the kernel looks once a sample ({format_duration(sampling)}), no more often"
        hint = f"write at least `{format_duration(sampling)}`"
        yield at("apply_every").value.error("DP0262", message, hint)


@check.add
def _small_quota(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    """Check that a quota holds at least a page.

    The kernel cuts it to whole pages (mm/damon/core.c: damos_apply_scheme()).
    """
    if 0 < (scheme.limits.size or 0) < PAGE and kdamond.addr_unit == 1:
        message = "this is less than a page, so the quota never lets anything pass"
        yield at("quota", "size").value.error("DP0259", message, "write at least `4KiB`")


@check.add
def _time(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    quota = scheme.limits
    if quota.time and quota.every and quota.time >= quota.every:
        every = format_duration(quota.every)
        message = f"a kdamond has no more than {every} in each {every}, so this limits nothing"
        hint = f"write less than `{every}`, or leave `time` out"
        yield at("quota", "time").value.error("DP0260", message, hint)


@check.add
def _pressure(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    quota = scheme.limits
    for index, goal in readable(quota.goals, "metric", "target"):
        if goal.metric != "some_mem_psi_us" or not quota.every:
            continue
        try:
            target = read_target(goal)
        except UnitError:  # which another rule reports
            continue
        if target > quota.every:
            every = format_duration(quota.every)
            message = f"no task can wait for more than {every} in each {every}"
            hint = f"write less than `{every}`: it is the time within each `every`"
            place = at("quota", "goals", index, "target")
            yield place.value.error("DP0260", f"{message}: the goal is never met", hint)


def ranges(kdamond: Kdamond, machine: Machine | None) -> list[Range] | None:
    """Return the monitored physical memory, None if unknown."""
    if kdamond.ops != "paddr":
        return None
    found: list[Range] = []
    with suppress(NoPermission):
        for target in kdamond.targets:
            if target.regions is not None:
                found += [(each.start, each.end) for each in target.regions]
            elif machine is None:
                return None
            elif target.numa_node is not None:
                found += node_ram(machine, target.numa_node)
            else:
                found += system_ram(machine)
        return united(each for each in found if each[0] < each[1])
    return None


@rule
def check_sizes(kdamond: Kdamond, at: Cursor, machine: Machine | None = None) -> Findings:
    """Warn of sizes that no region keeps: the fewest regions bound the size of each.

    mm/damon/core.c: damon_region_sz_limit(); larger ones are split while there is room for more.
    """
    sizes = (
        (index, scheme.access_pattern.known("size"))
        for index, scheme in readable(kdamond.schemes, "access_pattern")
    )
    least = [(index, size.known("min")) for index, size in sizes if size and size.known("min")]
    monitored = ranges(kdamond, machine) if least and kdamond.addr_unit == 1 else None
    if not monitored:
        return
    total, fewest = sum(end - start for start, end in monitored), kdamond.region_count.min
    most = max(total // max(fewest, 1), PAGE) // PAGE * PAGE
    for index, size in least:
        if size > most:
            place = at("schemes", index, "access_pattern", "size", "min").value
            few = f"there are at least {fewest} in {approximate_bytes(total)}"
            hint = f"write at most `{_rounded(most)}`, or a smaller `region_count.min`"
            yield place.warning("DP0682", f"no region stays so large: {few}", hint)


def _rounded(size: int) -> str:
    """Write a size, rounded down to whole MiB if it has any."""
    mib = 1 << 20
    return format_bytes(size // mib * mib if size >= mib else size)
