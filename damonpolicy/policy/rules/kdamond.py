"""Rules on kdamonds: targets, intervals, regions, accesses, probes."""

from __future__ import annotations

from contextlib import suppress

from damonpolicy.base.units import U32_MAX, format_duration
from damonpolicy.policy.model.filters import Match
from damonpolicy.policy.model.intervals import Intervals
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.quotas import UNLIMITED
from damonpolicy.policy.model.sample import Accesses
from damonpolicy.policy.model.scalars import Unread
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.targets import AddressRange, Target
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import probes
from damonpolicy.policy.rules.rule import Findings, Rules, label, readable, rule

__all__ = ("check",)

_FEWEST_REGIONS = 3
_LONGEST = 2047
"""The number of characters that a read of ``tid_arr`` shows; seen on the development tree."""


check = Rules[[Kdamond, Cursor]]()
"""The rules on a kdamond, except those on its schemes."""


@check.add
def _zeros(kdamond: Kdamond, at: Cursor) -> Findings:
    for name in ("sample", "aggregation", "update"):
        if kdamond.known("intervals", Intervals()).known(name) == 0:
            message = f"`{name}` is 0, and the kernel would never rest"
            yield at("intervals", name).value.error("DP0222", message, "write at least `1us`")
    if kdamond.refresh % 1_000:
        message = "`refresh` is a whole number of milliseconds"
        yield at("refresh").value.error("DP0250", message, "round it")


@check.add
def _order(kdamond: Kdamond, at: Cursor) -> Findings:
    intervals = kdamond.intervals
    if intervals.sampling > intervals.aggregating:
        sample, aggregation = map(format_duration, (intervals.sampling, intervals.aggregating))
        message = f"`sample` ({sample}) is above `aggregation` ({aggregation})"
        hint = "an aggregation sums up samples, 20 of them by default"
        name = "sample" if intervals.sample is not None else "aggregation"
        yield at("intervals", name).value.error("DP0203", message, hint)


@check.add
def _samples(kdamond: Kdamond, at: Cursor) -> Findings:
    """Refuse more samples per aggregation than the kernel counts.

    mm/damon/core.c: damon_max_nr_accesses() keeps the last 32 bits.
    """
    intervals = kdamond.intervals
    if intervals.sampling and intervals.samples > U32_MAX:
        message = f"{intervals.samples} samples an aggregation are more than the kernel's 32 bits"
        name = "aggregation" if intervals.aggregation is not None else "sample"
        hint = "make `aggregation` shorter, or `sample` longer"
        yield at("intervals", name).value.error("DP0261", message, hint)


@check.add
def _tuning(kdamond: Kdamond, at: Cursor) -> Findings:
    tune, inside = kdamond.intervals.auto_tune, at("intervals", "auto_tune")
    if tune is None:
        return
    for name in ("observe", "aggregations", "min_sample"):
        if tune.known(name) == 0:
            message = f"`{name}` is 0, which switches tuning off or breaks it"
            hint = "leave `auto_tune` out where nothing shall be tuned"
            yield inside(name).value.error("DP0219", message, hint)
    if (tune.known("observe", 0) * 10_000).denominator != 1:
        message = "`observe` is finer than a basis point (0.01%)"
        yield inside("observe").value.error("DP0250", message, "round it")
    sampling = kdamond.intervals.sampling
    if tune.min_sample > tune.max_sample:
        message = "`min_sample` is above `max_sample`"
        yield inside("min_sample").value.error("DP0201", message, "swap them")
    elif not tune.min_sample <= sampling <= tune.max_sample:
        start, low, high = map(format_duration, (sampling, tune.min_sample, tune.max_sample))
        message = f"tuning starts at {start}, outside {low} to {high}"
        hint = "choose a `sample` within `min_sample` and `max_sample`"
        yield at("intervals", "sample").value.error("DP0210", message, hint)


@check.add
def _region_count(kdamond: Kdamond, at: Cursor) -> Findings:
    count, place = kdamond.region_count, at("region_count")
    if count.known("min", _FEWEST_REGIONS) < _FEWEST_REGIONS:
        message = f"`min` is below {_FEWEST_REGIONS}, and the kernel would not start"
        yield place("min").value.error("DP0202", message, "write at least `min: 3`")
    if count.min > count.max:
        name = "min" if "min" in count.model_fields_set else "max"
        message = f"`min` ({count.min}) is above `max` ({count.max})"
        yield place(name).value.error("DP0201", message, "swap them")


@check.add
def _targets(kdamond: Kdamond, at: Cursor) -> Findings:
    place = at("targets")
    if not kdamond.targets and not place.lost:
        physical = kdamond.known("ops", "paddr") == "paddr"
        example = "{system_ram: true}" if physical else "{process: {name: NAME}}"
        who = label("the kdamond", lambda: kdamond.name)
        message = f"{who} has no target, so it would monitor nothing"
        yield place.key.error("DP0207", message, f"write `targets: [{example}]`")
    for index, target in enumerate(kdamond.targets):
        for each in (_target, _nothing, _regions, _areas):
            yield from each(kdamond, target, place(index))


@rule
def _target(kdamond: Kdamond, target: Target, at: Cursor) -> Findings:
    if at.lost:
        return
    names = ("system_ram", "numa_node", "regions", "process")
    kinds = [name for name in names if getattr(target, name) is not None]
    physical = [name for name in kinds if name in ("system_ram", "numa_node")]
    if kdamond.ops == "paddr":
        if "process" in kinds:
            message = "`paddr` monitors physical memory and cannot follow a process"
            hint = "use `ops: vaddr`, or a `memcg` filter on the schemes"
            yield at("process").key.error("DP0208", message, hint)
        elif len(kinds) != 1:
            message = "a target of `paddr` is one of `system_ram`, `numa_node` and `regions`"
            yield at.value.error("DP0224", message, "write several entries, they are united")
    elif "process" not in kinds:
        what = f"`{kinds[0]}` does not name a process" if kinds else "the target names no process"
        message = f"`{kdamond.ops}` monitors processes, and {what}"
        hint = "write `{process: {name: NAME}}`, or use `ops: paddr`"
        place = at(kinds[0]).key if kinds else at.value
        yield place.error("DP0208", message, hint)
    elif physical:
        message = f"`{physical[0]}` belongs to `paddr`, not to a process"
        yield at(physical[0]).key.error("DP0224", message, "remove it")


@rule
def _nothing(_: Kdamond, target: Target, at: Cursor) -> Findings:
    if target.known("system_ram") is False:
        message = "`system_ram: false` names nothing"
        yield at("system_ram").value.error("DP0224", message, "remove it")
    if target.process is not None and not target.process.model_fields_set:
        message = "`process` gives no condition, and would be every process"
        hint = "give `name`, `cmdline`, `exe`, `user`, `cgroup`, `unit` or `pid`"
        yield at("process").value.error("DP0225", message, hint)
    elif target.process is not None and None not in (target.process.cgroup, target.process.unit):
        message = "`unit` names a cgroup, and `cgroup` another one"
        yield at("process", "unit").key.error("DP0224", message, "keep one")


@rule
def _regions(kdamond: Kdamond, target: Target, at: Cursor) -> Findings:
    if target.regions is None:
        if kdamond.ops == "fvaddr" and target.process is not None:
            message = "`fvaddr` needs `regions`, else it monitors nothing"
            hint = "add `regions: [{start: ADDRESS, end: ADDRESS}]`, or use `ops: vaddr`"
            yield at.value.error("DP0237", message, hint)
    elif kdamond.ops == "vaddr":
        message = "`vaddr` follows the whole address space and would replace `regions`"
        yield at("regions").key.error("DP0237", message, "use `ops: fvaddr`")


@rule
def _areas(_: Kdamond, target: Target, at: Cursor) -> Findings:
    place = at("regions")
    if target.regions == () and not place.lost:
        message = "`regions` is empty"
        yield place.value.error("DP0207", message, "write `[{start: ADDRESS, end: ADDRESS}]`")
    seen: list[tuple[AddressRange, int]] = []
    for index, region in readable(target.regions or (), "start", "end"):
        if region.end <= region.start:
            message = f"the region ends ({region.end:#x}) before it starts ({region.start:#x})"
            hint = "the end is the first address that no longer belongs to it"
            yield place(index, "end").value.error("DP0204", message, hint)
            continue
        for other, first in seen:
            if region.start < other.end and other.start < region.end:
                message = "the region overlaps another one"
                hint = "unite them into one"
                related = [(place(first).value, "this one")]
                yield place(index).value.error("DP0205", message, hint, related=related)
        seen.append((region, index))
    ordered = [region.start for region, _ in seen]
    if ordered != sorted(ordered):
        message = "the regions are not in ascending order"
        yield place.value.error("DP0205", message, "sort them by `start`")


@check.add
def _united(kdamond: Kdamond, at: Cursor) -> Findings:
    """Check targets of paddr, which become one; memory covered twice would be two targets."""
    if kdamond.ops != "paddr":
        return
    targets, at = list(readable(kdamond.targets, "system_ram", "numa_node")), at("targets")
    whole = [index for index, target in targets if target.system_ram]
    hint = "the kernel takes one paddr target; all entries are united into it"
    if whole and len(kdamond.targets) > 1:
        other = next(index for index in range(len(kdamond.targets)) if index != whole[0])
        message = "two paddr targets: `system_ram` already covers this one"
        related = [(at(whole[0]).value, "all of System RAM")]
        yield at(other).value.error("DP0209", message, hint, related=related)
    seen: dict[int | None, int] = {}
    for index, target in targets:
        node = target.numa_node
        if node is not None and seen.setdefault(node, index) != index:
            message = f"two paddr targets: node {node} appears twice"
            related = [(at(seen[node]).value, "first here")]
            yield at(index).value.error("DP0209", message, hint, related=related)


def _counts_bytes(scheme: Scheme) -> bool:
    with suppress(Unread):  # an unreadable value proves nothing
        size = scheme.access_pattern.size
        return (
            (size.min, size.max) != (None, None)
            or scheme.limits.size not in (None, UNLIMITED)
            or any(each.type == "addr" for each in scheme.filters)
        )
    return False


check.add(probes.check)


@check.add
def _accesses(kdamond: Kdamond, at: Cursor) -> Findings:
    if (accesses := kdamond.accesses) is not None:
        for each in (_threads, _primitive, _restricted):
            yield from each(kdamond, accesses, at)


@rule
def _threads(_: Kdamond, accesses: Accesses, at: Cursor) -> Findings:
    place = at("accesses", "threads")
    if accesses.threads is not None and not accesses.threads and not place.lost:
        message = "`threads` is empty, which crashes the kernel"
        yield place.value.error("DP0225", message, "list threads, or leave it out")
    if len(",".join(map(str, accesses.threads or ()))) > _LONGEST:
        message = f"the kernel shows no more than {_LONGEST} characters of `threads`"
        hint = "name fewer: what cannot be read back cannot be verified"
        yield place.value.error("DP0119", message, hint)


@rule
def _primitive(_: Kdamond, accesses: Accesses, at: Cursor) -> Findings:
    if accesses.primitive == "page_table" and not accesses.alike:
        message = "page tables show neither writes nor CPUs nor threads"
        hint = "remove `primitive`: page faults are taken where they are needed"
        yield at("accesses", "primitive").value.error("DP0229", message, hint)


@rule
def _restricted(kdamond: Kdamond, accesses: Accesses, at: Cursor) -> Findings:
    if accesses.everything:
        return
    ops, place = kdamond.known("ops", "paddr"), at("accesses")
    if ops != "paddr":
        message = f"`{ops}` would count nothing: only `paddr` can tell accesses apart"
        hint = "use `ops: paddr`, and `memcg` filters for processes"
        yield place.key.error("DP0229", message, hint)
    if kdamond.known("addr_unit", 1) != 1:
        message = "telling accesses apart works with `addr_unit: 1` only"
        yield place.key.error("DP0236", message, "remove `addr_unit`")
    if any(probe.weight for _, probe in readable(kdamond.known("probes", ()), "weight")):
        message = "a probe with a weight takes the place of access checks, so none would count"
        yield place.key.error("DP0234", message, "remove `accesses`, or the probe's weight")
    for index, scheme in readable(kdamond.schemes if accesses.optional else (), "action"):
        if scheme.action != "stat":
            message = "`accesses` cannot be optional where a scheme acts on what it finds"
            hint = f"`{scheme.action}` would take memory that is merely read"
            related = [(at("schemes", index, "action").value, "this scheme acts")]
            yield place("optional").key.error("DP0228", message, hint, related=related)


@check.add
def _unit(kdamond: Kdamond, at: Cursor) -> Findings:
    unit, ops, place = kdamond.addr_unit, kdamond.known("ops", "paddr"), at("addr_unit")
    if unit == 0 or unit & (unit - 1) or unit > 1 << 20:
        message = "`addr_unit` is a power of two up to 1048576"
        hint = "leave it out: only 32-bit machines with much memory need it"
        yield place.value.error("DP0236", message, hint)
    if unit != 1 and ops != "paddr":
        yield place.key.error("DP0236", f"`{ops}` ignores `addr_unit`", "remove it")
    schemes = readable(kdamond.schemes, "access_pattern", "limits", "filters")
    sized = [index for index, each in schemes if _counts_bytes(each)]
    if unit != 1 and sized:
        # 6.18 and 7.3 count sizes in units: a limit would be that many times the written one
        message = "with `addr_unit` the kernel counts sizes in units, not in bytes"
        hint = "leave `addr_unit` out, or the sizes"
        related = [(at("schemes", sized[0]).value, "this scheme has sizes or addresses")]
        yield place.value.error("DP0236", message, hint, related=related)


@check.add
def _temperature(kdamond: Kdamond, at: Cursor) -> Findings:
    weights = kdamond.temperature
    if weights is not None and not (weights.size or weights.access_rate or weights.age):
        message = "all weights are 0, so nothing would be hotter than anything else"
        hint = "give at least one a weight, or leave `temperature` out"
        yield at("temperature").value.warning("DP0232", message, hint)


@check.add
def _waiting(kdamond: Kdamond, at: Cursor) -> Findings:
    if kdamond.when_absent == "wait" and kdamond.ops == "paddr" and not _may_be_absent(kdamond):
        message = "there is nothing to wait for: no cgroup or node is named"
        yield at("when_absent").key.error("DP0208", message, "remove it")


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
