"""Rules on bounds that the kernel accepts, but that nothing can ever meet or exceed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from damonpolicy.base.diagnostics import Diagnostic
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
from damonpolicy.policy.model.quotas import UNLIMITED, Quota, read_target
from damonpolicy.policy.model.scalars import Rate
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import readable, rule

__all__ = ("check", "check_sizes", "ranges", "samples")


@rule
def check(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Yield reasons why a scheme can never act, and limits that never limit."""
    yield from _small(scheme, kdamond, at("access_pattern", "size"))
    yield from _rate(scheme, kdamond, at("access_pattern", "access_rate"))
    yield from _asleep(scheme, at("watermarks"))
    yield from _apply_every(scheme, kdamond, at)
    if isinstance(scheme.known("quota"), Quota):
        yield from _crumb(scheme.limits, kdamond, at("quota"))
        yield from _time(scheme.limits, at("quota"))
        yield from _pressure(scheme.limits, at("quota", "goals"))


@rule
def samples(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Refuse more samples per aggregation than the kernel counts; ``at`` is of intervals.

    mm/damon/core.c: damon_max_nr_accesses() keeps the last 32 bits.
    """
    intervals = kdamond.intervals
    if intervals.sampling and intervals.samples > U32_MAX:
        message = f"{intervals.samples} samples an aggregation are more than the kernel's 32 bits"
        name = "aggregation" if intervals.aggregation is not None else "sample"
        hint = "make `aggregation` shorter, or `sample` longer"
        yield Diagnostic.error("DP0261", at(name).value, message, hint=hint)


@rule
def _small(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    most = scheme.access_pattern.size.max
    if most is not None and most < PAGE and kdamond.addr_unit == 1:
        message = "no region is smaller than 4KiB, so the scheme never matches"
        hint = "write at least `4KiB`, or leave it out"
        yield Diagnostic.error("DP0259", at("max").value, message, hint=hint)


@rule
def _rate(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    least: Rate | None = scheme.access_pattern.access_rate.min
    most = kdamond.intervals.samples
    if least is not None and most < least.least(most) <= U32_MAX:
        message = f"an aggregation has {most} samples, so the scheme never matches"
        hint = f"write at most `{most} samples`"
        yield Diagnostic.error("DP0259", at("min").value, message, hint=hint)


@rule
def _asleep(scheme: Scheme, at: Cursor) -> Iterator[Diagnostic]:
    """Check that a scheme can ever be awake.

    It wakes below `mid`, and sleeps below `low` (mm/damon/core.c: damos_wmark_wait_us()).
    """
    marks = scheme.watermarks
    if (
        marks is not None
        and marks.metric != "none"
        and int(marks.mid * 1000) == int(marks.low * 1000)
    ):
        message = "`mid` and `low` are the same: once the scheme is asleep, it never wakes"
        hint = "it is awake between them: write a smaller `low`, or a larger `mid`"
        yield Diagnostic.error("DP0259", at("mid").value, message, hint=hint)


@rule
def _apply_every(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    every, sampling = scheme.apply_every, kdamond.intervals.sampling
    if every and every < sampling:
        message = f"the kernel looks once a sample ({format_duration(sampling)}), no more often"
        hint = f"write at least `{format_duration(sampling)}`"
        yield Diagnostic.error("DP0262", at("apply_every").value, message, hint=hint)


@rule
def _crumb(quota: Quota, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Check that a quota holds at least a page.

    The kernel cuts it to whole pages (mm/damon/core.c: damos_apply_scheme()).
    """
    if quota.size not in (None, UNLIMITED) and 0 < (quota.size or 0) < PAGE:
        if kdamond.addr_unit == 1:
            message = "this is less than a page, so the quota never lets anything pass"
            hint = "write at least `4KiB`"
            yield Diagnostic.error("DP0259", at("size").value, message, hint=hint)


@rule
def _time(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    if quota.time and quota.every and quota.time >= quota.every:
        every = format_duration(quota.every)
        message = f"a kdamond has no more than {every} in each {every}, so this limits nothing"
        hint = f"write less than `{every}`, or leave `time` out"
        yield Diagnostic.error("DP0260", at("time").value, message, hint=hint)


@rule
def _pressure(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    for index, goal in readable(quota.goals, "metric", "target"):
        if goal.metric != "some_mem_psi_us" or not quota.every:
            continue
        try:
            target = read_target(goal)
        except UnitError:  # which another rule reports
            continue
        if target > quota.every:
            every = format_duration(quota.every)
            message = (
                f"no task can wait for more than {every} in each {every}: the goal is never met"
            )
            hint = f"write less than `{every}`: it is the time within each `every`"
            yield Diagnostic.error("DP0260", at(index, "target").value, message, hint=hint)


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
def check_sizes(
    kdamond: Kdamond, at: Cursor, machine: Machine | None = None
) -> Iterator[Diagnostic]:
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
            message = (
                f"no region stays so large: there are at least {fewest} in"
                f" {approximate_bytes(total)}"
            )
            hint = f"write at most `{_rounded(most)}`, or a smaller `region_count.min`"
            place = at("schemes", index, "access_pattern", "size", "min").value
            yield Diagnostic.warning("DP0682", place, message, hint=hint)


def _rounded(size: int) -> str:
    """Write a size, rounded down to whole MiB if it has any."""
    mib = 1 << 20
    return format_bytes(size // mib * mib if size >= mib else size)
