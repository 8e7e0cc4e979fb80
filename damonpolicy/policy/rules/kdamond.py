"""Rules on kdamonds: targets, intervals, regions, accesses, probes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.units import format_duration
from damonpolicy.policy.model.filters import Match
from damonpolicy.policy.model.intervals import AutoTune, Intervals
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.quotas import UNLIMITED
from damonpolicy.policy.model.scalars import Unread
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.targets import AddressRange, Target
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import bounds, probes, sample
from damonpolicy.policy.rules.rule import called, readable, rule

__all__ = ("check",)

_FEWEST_REGIONS = 3


@rule
def check(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Yield the errors in a kdamond, except those in its schemes."""
    yield from _zeros(kdamond, at("intervals"))
    yield from _order(kdamond, at("intervals"))
    yield from bounds.samples(kdamond, at("intervals"))
    yield from _tuning(kdamond, at("intervals"))
    yield from _region_count(kdamond, at("region_count"))
    yield from _targets(kdamond, at)
    yield from sample.check(kdamond, at("accesses"))
    yield from probes.check(kdamond, at)
    yield from _unit(kdamond, at)
    yield from _sized(kdamond, at)
    yield from _refresh(kdamond, at)
    yield from _waiting(kdamond, at)
    yield from _all_alike(kdamond, at)


@rule
def _zeros(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    intervals = kdamond.intervals
    for name in ("sample", "aggregation", "update"):
        if intervals.known(name) == 0:
            message = f"`{name}` is 0, and the kernel would never rest"
            yield Diagnostic.error("DP0222", at(name).value, message, hint="write at least `1us`")


@rule
def _order(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    intervals = kdamond.intervals
    if intervals.sampling > intervals.aggregating:
        yield Diagnostic.error(
            "DP0203",
            at("sample" if intervals.sample is not None else "aggregation").value,
            f"`sample` ({format_duration(intervals.sampling)}) is above"
            f" `aggregation` ({format_duration(intervals.aggregating)})",
            hint="an aggregation sums up samples, 20 of them by default",
        )


@rule
def _tuning(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    tune, inside = kdamond.intervals.auto_tune, at("auto_tune")
    if tune is None:
        return
    for name in ("observe", "aggregations", "min_sample"):
        if tune.known(name) == 0:
            message = f"`{name}` is 0, which switches tuning off or breaks it"
            hint = "leave `auto_tune` out where nothing shall be tuned"
            yield Diagnostic.error("DP0219", inside(name).value, message, hint=hint)
    yield from _bounds(kdamond.intervals, tune, at)
    if (tune.observe * 10_000).denominator != 1:
        message = "`observe` is finer than a basis point (0.01%)"
        yield Diagnostic.error("DP0250", inside("observe").value, message, hint="round it")


@rule
def _bounds(intervals: Intervals, tune: AutoTune, at: Cursor) -> Iterator[Diagnostic]:
    inside = at("auto_tune")
    if tune.min_sample > tune.max_sample:
        message = "`min_sample` is above `max_sample`"
        yield Diagnostic.error("DP0201", inside("min_sample").value, message, hint="swap them")
    elif not tune.min_sample <= intervals.sampling <= tune.max_sample:
        yield Diagnostic.error(
            "DP0210",
            at("sample").value,
            f"tuning starts at {format_duration(intervals.sampling)}, outside"
            f" {format_duration(tune.min_sample)} to {format_duration(tune.max_sample)}",
            hint="choose a `sample` within `min_sample` and `max_sample`",
        )


@rule
def _region_count(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    yield from _fewest(kdamond, at)
    count = kdamond.region_count
    if count.min > count.max:
        message = f"`min` ({count.min}) is above `max` ({count.max})"
        place = at("min") if "min" in count.model_fields_set else at("max")
        yield Diagnostic.error("DP0201", place.value, message, hint="swap them")


@rule
def _fewest(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    if kdamond.region_count.min < _FEWEST_REGIONS:
        message = f"`min` is below {_FEWEST_REGIONS}, and the kernel would not start"
        yield Diagnostic.error("DP0202", at("min").value, message, hint="write at least `min: 3`")


@rule
def _targets(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    place = at("targets")
    yield from _no_target(kdamond, place)
    for index, target in enumerate(kdamond.targets):
        if not place(index).lost:
            yield from _target(kdamond, target, place(index))
        yield from _nothing(target, place(index))
        yield from _one_cgroup(target, place(index))
        yield from _regions(kdamond, target, place(index))
        yield from _areas(target, place(index, "regions"))
    yield from _united(kdamond, place)


@rule
def _no_target(kdamond: Kdamond, place: Cursor) -> Iterator[Diagnostic]:
    if not kdamond.targets and not place.lost:
        example = (
            "{system_ram: true}"
            if kdamond.known("ops", "paddr") == "paddr"
            else "{process: {name: NAME}}"
        )
        yield Diagnostic.error(
            "DP0207",
            place.key,
            f"{called('the kdamond', lambda: kdamond.name)} has no target, so it would monitor nothing",
            hint=f"write `targets: [{example}]`",
        )


@rule
def _target(kdamond: Kdamond, target: Target, at: Cursor) -> Iterator[Diagnostic]:
    kinds = [
        name
        for name in ("system_ram", "numa_node", "regions", "process")
        if getattr(target, name) is not None
    ]
    physical = [name for name in kinds if name in ("system_ram", "numa_node")]
    if kdamond.ops == "paddr":
        if "process" in kinds:
            yield Diagnostic.error(
                "DP0208",
                at("process").key,
                "`paddr` monitors physical memory and cannot follow a process",
                hint="use `ops: vaddr`, or a `memcg` filter on the schemes",
            )
        elif len(kinds) != 1:
            message = "a target of `paddr` is one of `system_ram`, `numa_node` and `regions`"
            hint = "write several entries, they are united"
            yield Diagnostic.error("DP0224", at.value, message, hint=hint)
    elif "process" not in kinds:
        what = f"`{kinds[0]}` does not name a process" if kinds else "the target names no process"
        yield Diagnostic.error(
            "DP0208",
            at(kinds[0]).key if kinds else at.value,
            f"`{kdamond.ops}` monitors processes, and {what}",
            hint="write `{process: {name: NAME}}`, or use `ops: paddr`",
        )
    elif physical:
        message = f"`{physical[0]}` belongs to `paddr`, not to a process"
        yield Diagnostic.error("DP0224", at(physical[0]).key, message, hint="remove it")


@rule
def _nothing(target: Target, at: Cursor) -> Iterator[Diagnostic]:
    if target.known("system_ram") is False:
        message = "`system_ram: false` names nothing"
        yield Diagnostic.error("DP0224", at("system_ram").value, message, hint="remove it")
    if target.process is not None and not target.process.model_fields_set:
        message = "`process` gives no condition, and would be every process"
        hint = "give `name`, `cmdline`, `exe`, `user`, `cgroup`, `unit` or `pid`"
        yield Diagnostic.error("DP0225", at("process").value, message, hint=hint)


@rule
def _one_cgroup(target: Target, at: Cursor) -> Iterator[Diagnostic]:
    process = target.process
    if process is not None and process.cgroup is not None and process.unit is not None:
        message = "`unit` names a cgroup, and `cgroup` another one"
        yield Diagnostic.error("DP0224", at("process", "unit").key, message, hint="keep one")


@rule
def _regions(kdamond: Kdamond, target: Target, at: Cursor) -> Iterator[Diagnostic]:
    place = at("regions")
    if target.regions is None:
        if kdamond.ops == "fvaddr" and target.process is not None:
            message = "`fvaddr` needs `regions`, else it monitors nothing"
            hint = "add `regions: [{start: ADDRESS, end: ADDRESS}]`, or use `ops: vaddr`"
            yield Diagnostic.error("DP0237", at.value, message, hint=hint)
        return
    if kdamond.ops == "vaddr":
        message = "`vaddr` follows the whole address space and would replace `regions`"
        yield Diagnostic.error("DP0237", place.key, message, hint="use `ops: fvaddr`")


@rule
def _areas(target: Target, place: Cursor) -> Iterator[Diagnostic]:
    if target.regions == () and not place.lost:
        hint = "write `[{start: ADDRESS, end: ADDRESS}]`"
        yield Diagnostic.error("DP0207", place.value, "`regions` is empty", hint=hint)
    seen: list[tuple[AddressRange, int]] = []
    for index, region in readable(target.regions or (), "start", "end"):
        if region.end <= region.start:
            yield Diagnostic.error(
                "DP0204",
                place(index, "end").value,
                f"the region ends ({region.end:#x}) before it starts ({region.start:#x})",
                hint="the end is the first address that no longer belongs to it",
            )
            continue
        for other, first in seen:
            if region.start < other.end and other.start < region.end:
                yield Diagnostic.error(
                    "DP0205",
                    place(index).value,
                    "the region overlaps another one",
                    hint="unite them into one",
                    related=[(place(first).value, "this one")],
                )
        seen.append((region, index))
    ordered = [region.start for region, _ in seen]
    if ordered != sorted(ordered):
        message = "the regions are not in ascending order"
        yield Diagnostic.error("DP0205", place.value, message, hint="sort them by `start`")


@rule
def _united(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Check targets of paddr, which become one; memory covered twice would be two targets."""
    if kdamond.ops != "paddr":
        return
    targets = list(readable(kdamond.targets, "system_ram", "numa_node"))
    whole = [index for index, target in targets if target.system_ram]
    hint = "the kernel takes one paddr target; all entries are united into it"
    if whole and len(kdamond.targets) > 1:
        other = next(index for index in range(len(kdamond.targets)) if index != whole[0])
        yield Diagnostic.error(
            "DP0209",
            at(other).value,
            "two paddr targets: `system_ram` already covers this one",
            hint=hint,
            related=[(at(whole[0]).value, "all of System RAM")],
        )
    seen: dict[int, int] = {}
    for index, target in targets:
        node = target.numa_node
        if node is not None and node in seen:
            yield Diagnostic.error(
                "DP0209",
                at(index).value,
                f"two paddr targets: node {node} appears twice",
                hint=hint,
                related=[(at(seen[node]).value, "first here")],
            )
        elif node is not None:
            seen[node] = index


def _counts_bytes(scheme: Scheme) -> bool:
    with suppress(Unread):  # an unreadable value proves nothing
        size = scheme.access_pattern.size
        return (
            size.min is not None
            or size.max is not None
            or scheme.limits.size not in (None, UNLIMITED)
            or any(each.type == "addr" for each in scheme.filters)
        )
    return False


@rule
def _unit(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    unit = kdamond.addr_unit
    if unit == 0 or unit & (unit - 1) or unit > 1 << 20:
        message = "`addr_unit` is a power of two up to 1048576"
        hint = "leave it out: only 32-bit machines with much memory need it"
        yield Diagnostic.error("DP0236", at("addr_unit").value, message, hint=hint)
    if unit != 1 and kdamond.ops != "paddr":
        message = f"`{kdamond.ops}` ignores `addr_unit`"
        yield Diagnostic.error("DP0236", at("addr_unit").key, message, hint="remove it")


@rule
def _sized(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    unit = kdamond.addr_unit
    schemes = readable(kdamond.schemes, "access_pattern", "limits", "filters")
    sized = [index for index, each in schemes if _counts_bytes(each)]
    if unit != 1 and sized:
        # 6.18 and 7.3 count sizes in units: a limit would be that many times the written one
        message = "with `addr_unit` the kernel counts sizes in units, not in bytes"
        related = [(at("schemes", sized[0]).value, "this scheme has sizes or addresses")]
        hint = "leave `addr_unit` out, or the sizes"
        yield Diagnostic.error("DP0236", at("addr_unit").value, message, hint=hint, related=related)


@rule
def _refresh(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    if kdamond.refresh % 1_000:
        message = "`refresh` is a whole number of milliseconds"
        yield Diagnostic.error("DP0250", at("refresh").value, message, hint="round it")


@rule
def _all_alike(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    weights = kdamond.temperature
    if weights is not None and not (weights.size or weights.access_rate or weights.age):
        message = "all weights are 0, so nothing would be hotter than anything else"
        hint = "give at least one a weight, or leave `temperature` out"
        yield Diagnostic.warning("DP0232", at("temperature").value, message, hint=hint)


@rule
def _waiting(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    if kdamond.when_absent == "wait" and kdamond.ops == "paddr" and not _may_be_absent(kdamond):
        message = "there is nothing to wait for: no cgroup or node is named"
        yield Diagnostic.error("DP0208", at("when_absent").key, message, hint="remove it")


def _may_be_absent(kdamond: Kdamond) -> bool:
    """Return whether a kdamond names a cgroup or a node."""
    filters = [each for probe in kdamond.probes for each in probe.filters]
    filters += [each for scheme in kdamond.schemes for each in scheme.filters]
    goals = [each for scheme in kdamond.schemes for each in scheme.limits.goals]
    return (
        any(isinstance(each.inner, Match) and each.inner.memcg is not None for each in filters)
        or any(each.cgroup is not None or each.node is not None for each in goals)
        or any(each.numa_node is not None for each in kdamond.targets)
        or any(scheme.to is not None for scheme in kdamond.schemes)
    )
