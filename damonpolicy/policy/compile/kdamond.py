"""Compilation of models to the files of a kdamond's directory, for one kernel.

Each kernel file is one `put`, with its place in the policy. Afterwards, every file and word is
looked up in the features table, to find what the kernel lacks.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.units import U32_MAX
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.actions import ACTIONS, Traits, traits
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.kernel.system.processes import Selector
from damonpolicy.plan.ir import CompiledKdamond, FilterLine, TargetLine
from damonpolicy.plan.uncommitted import ignored
from damonpolicy.policy.compile import filters as plan_filters
from damonpolicy.policy.compile import tuning
from damonpolicy.policy.compile.files import Files, part
from damonpolicy.policy.compile.plain import plain_files, value_of
from damonpolicy.policy.compile.quotas import pressed, quota_files
from damonpolicy.policy.compile.sample import early_files, sample_files
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.probes import PROBED, Probe
from damonpolicy.policy.model.scalars import Unread
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.targets import Target
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import readable

__all__ = ("compile_kdamond", "may_be_chosen")

_OF_PROBES = ("filters", "weight", "preps", "optional")
_SLOT = view.Kdamond()


def compile_kdamond(out: Files, kdamond: Kdamond, at: Cursor) -> CompiledKdamond:
    """Compile into ``out``; the result is valid only if that has found no error afterwards.

    Raises Unread if the policy is too wrong for a result; what was found is complete then, too.
    """
    out.put(_SLOT.contexts.path, 1, at)
    out.put_field(_SLOT.ops.path, lambda: kdamond.ops, at("ops"))
    for path, value, key in plain_files(kdamond):
        out.put_field(path, value, at(*key))
    _intervals(out, kdamond, at("intervals"))
    _accesses(out, kdamond, at("accesses"))
    _probes(out, kdamond, at("probes"))
    _schemes(out, kdamond, at("schemes"))
    out.refuse_missing()
    if _SLOT.ops.path not in out.files:
        raise Unread
    obsolete = out.capabilities.known("target.obsolete") == "yes"
    warm = kdamond.temperature
    return CompiledKdamond(
        policy=out.policy,
        name=kdamond.name,
        files=out.files,
        targets=tuple(_target(target) for target in kdamond.targets),
        filters=out.filters,
        names=out.names,
        target_files={view.Target().obsolete.path: "N"} if obsolete else {},
        wait=kdamond.when_absent == "wait",
        commit=_commit(out.capabilities),
        uncommitted=ignored(out.capabilities),
        feeds=tuple(out.feeds),
        commit_every=max(kdamond.commit_every, pressed(kdamond)),
        temperature=(warm.size, warm.access_rate, warm.age) if warm else None,
    )


def _commit(capabilities: Capabilities) -> Literal["answered", "waits", "none"]:
    """Return how this kernel handles a commit.

    Up to 6.12 it waits for a scheme to wake up, with the lock of all DAMON files held; since
    the commit "mm/damon/sysfs: use damon_call() for commit command" the kdamond answers.
    """
    if not capabilities.has("commit"):
        return "none"
    return "answered" if capabilities.known("commit.checked") == "yes" else "waits"


@part
def _intervals(out: Files, kdamond: Kdamond, at: Cursor) -> None:
    intervals, own = kdamond.intervals, _SLOT.intervals
    out.put_field(own.sample.path, lambda: intervals.sampling, at("sample"))
    out.put_field(own.aggregation.path, lambda: intervals.aggregating, at("aggregation"))
    goal, tune = own.auto_tune, intervals.auto_tune
    for each in (goal.observe, goal.aggregations, goal.min_sample, goal.max_sample):
        out.put(each.path, value_of(each, tune), at("auto_tune"))


@part
def _accesses(out: Files, kdamond: Kdamond, at: Cursor) -> None:
    accesses, own, first = kdamond.accesses, _SLOT.sample, _SLOT.early_accesses
    # all of them, unless more is put below
    out.put(own.page_table.path, True, at)
    out.put(own.page_fault.path, False, at)
    out.put(own.filters.count.path, 0, at)
    for each in (first.use_reports, first.write_only):
        out.put(each.path, False, at)
    if accesses is None or accesses.everything:
        return
    known = out.capabilities.known
    # the form of access filters that came before ``sample/``
    early = known("sample") != "yes" and known("operations_attrs") == "yes"
    if early and accesses.kind != "read":
        files, directory = early_files(accesses, out.machine), first.path
    else:
        needed = ["sample"] if accesses.kind == "any" else ["sample", "sample.write"]
        given = accesses.model_fields_set
        needed += [f"sample.{name}" for name in ("cpus", "threads") if name in given]
        if early and not accesses.optional:
            message = "this kernel can select writes, but has no word for reads"
            out.refuse(at("kind"), "sample", message)
            return
        if accesses.optional:
            message = f"counting {accesses.described} is left out: all accesses count"
            if out.leaves_out(at, message, needed):
                return
        if lacking := out.lacking(needed):
            out.refuse(at, lacking)
        files, directory = sample_files(accesses, out.machine), own.path
    out.uses_faults = True
    if not early and out.capabilities.has("sample"):
        message = "kernels seen so far never free or merge a page that a fault has reported"
        hint = "let it run for minutes, watch free memory, and switch KSM on without it"
        out.found.append(Diagnostic.warning("DP0604", at.spot, message, hint=hint))
    for name, value in files.items():
        out.put(f"{directory}/{name}", value, at)


@part
def _probes(out: Files, kdamond: Kdamond, at: Cursor) -> None:
    kept: list[tuple[int, Probe]] = []
    physical = kdamond.known("ops", "paddr") == "paddr"
    for index, probe in readable(kdamond.probes, *_OF_PROBES):
        known = [each for _, each in readable(probe.filters, "given")]
        needed = ["probes", *(f"probe.{each.type}" for each in known if each.type in PROBED)]
        needed += ["probe.weight"] if probe.weight else []
        needed += ["probe.preps"] if probe.preps or not physical else []
        message = f"the probe `{probe.known('name')}` is left out"
        if not (probe.optional and out.leaves_out(at(index, "name"), message, needed)):
            kept.append((index, probe))
    # 7.2 and 7.3 accept them for processes and never use them (seen in guests). No feature of
    # its own marks a kernel that does; the one that was seen to has preparations too.
    if kept and not physical and not out.capabilities.has("probe.preps"):
        message = f"this kernel takes probes on `{kdamond.ops}` and counts nothing"
        out.refuse(at, "probe.preps", message)
    out.put(_SLOT.probes.count.path, len(kept), at)
    for number, (index, probe) in enumerate(kept):
        own, here = _SLOT.probes[number], at(index)
        out.names[own.path] = probe.known("name", "")
        out.put_keys(probe, here, own.weight)
        out.put(own.preps.count.path, len(probe.preps), here("preps"))
        for order, prep in enumerate(probe.preps):
            out.put(own.preps[order].action.path, prep, here("preps", order))
        every = [each for _, each in readable(probe.filters, "given")]
        out.put_filters(own.filters.path, plan_filters.probe_lines(every), here("filters"))


@part
def _schemes(out: Files, kdamond: Kdamond, at: Cursor) -> None:
    kept: list[tuple[int, Scheme]] = []
    for index, scheme in readable(kdamond.schemes, "when", "optional"):
        if not may_be_chosen(scheme, out.capabilities):
            message = f"the alternative `{scheme.known('name')}` is not for this kernel"
            out.found.append(Diagnostic.note("DP0602", at(index, "when").key, message))
            continue
        if scheme.optional:
            trial = Files(out.policy, out.capabilities, out.machine, out.served)
            _scheme(trial, scheme, kdamond, _SLOT.schemes[0], at(index))
            trial.refuse_missing()
            if refused := [each for each in trial.found if each.severity == "error"]:
                message = f"the scheme `{scheme.known('name')}` is left out"
                out.left_out(at(index, "name"), message, refused[0].message)
                continue
        kept.append((index, scheme))
    out.put(_SLOT.schemes.count.path, len(kept), at)
    for number, (index, scheme) in enumerate(kept):
        _scheme(out, scheme, kdamond, _SLOT.schemes[number], at(index))


def _scheme(out: Files, scheme: Scheme, kdamond: Kdamond, own: view.Scheme, at: Cursor) -> None:
    out.names[own.path] = scheme.known("name", "")
    _action(out, scheme, kdamond, own, at("action"))
    _destinations(out, scheme, own, at("to"))
    _pattern(out, scheme, kdamond, own.access_pattern, at("access_pattern"))
    for path, value, key in plain_files(scheme, own.path):
        out.put_field(path, value, at(*key))
    quota_files(out, scheme, kdamond, own.quota, at("quota"))
    _filters(out, scheme, kdamond, own, at("filters"))


@part
def _action(out: Files, scheme: Scheme, kdamond: Kdamond, own: view.Scheme, at: Cursor) -> None:
    out.put(own.action.path, scheme.action, at)
    known = traits(kdamond.ops, scheme.action)
    if known.needs and not out.capabilities.has(known.needs):
        message = f"this kernel accepts `{scheme.action}` on `{kdamond.ops}` and does nothing"
        out.refuse(at, known.needs, message)


@part
def _destinations(out: Files, scheme: Scheme, own: view.Scheme, at: Cursor) -> None:
    nodes = scheme.to if isinstance(scheme.to, tuple) else ()
    out.put(own.to.path, scheme.to if isinstance(scheme.to, int) else -1, at)
    out.put(own.dests.count.path, len(nodes), at)
    for index, each in readable(nodes, "node", "weight"):
        dest = own.dests[index]
        out.put_keys(each, at(index), dest.node, dest.weight)


@part
def _pattern(out: Files, scheme: Scheme, kdamond: Kdamond, own: view.Pattern, at: Cursor) -> None:
    wanted, intervals = scheme.access_pattern, kdamond.intervals
    whole = max(intervals.aggregating, 1)  # 0 is wrong, and was reported
    for bounds, files, unit, key in (
        (wanted.access_rate, own.access_rate, intervals.samples, at("access_rate")),
        (wanted.age, own.age, whole, at("age")),
    ):
        low, high = bounds.min, bounds.max
        out.put(files.min.path, 0 if low is None else low.least(unit), key("min"))
        out.put(files.max.path, U32_MAX if high is None else high.most(unit), key("max"))
    if intervals.auto_tune is not None and scheme.retune_age and out.served:
        out.loops += tuning.ages(out.policy, kdamond, scheme, out.files, own.age)


@part
def _filters(out: Files, scheme: Scheme, kdamond: Kdamond, own: view.Scheme, at: Cursor) -> None:
    every = [each for _, each in readable(scheme.filters, "given")]
    lines = plan_filters.lines(every, out.capabilities, out.machine)
    ops, action = kdamond.known("ops", ""), scheme.known("action", "")
    if ops == "paddr":
        lines = plan_filters.asked_of_pages(lines, out.capabilities)
    types = {line.files["type"] for line in lines}
    need = ACTIONS.get(ops, {}).get(action, Traits()).filters_need
    if types.difference(CORE) and need and not out.capabilities.has(need):
        message = f"this kernel ignores page-level filters of `{action}` on `{ops}`"
        out.refuse(at, need, message)
    spares = (ops, action, scheme.known("young")) == ("paddr", "pageout", "first")
    if spares and "young" not in types and out.capabilities.has("filter.young"):
        lines = _spare_young(out, lines, at)
    together = scheme.filters_in == "filters"
    for name, each in plan_filters.split(lines, out.capabilities, together=together).items():
        out.put_filters(own.below(name), each, at)


def _spare_young(out: Files, lines: list[FilterLine], at: Cursor) -> list[FilterLine]:
    """Reject young pages first, if the kernel can; note where the effect is not obvious."""
    lines = plan_filters.spare_young(lines)
    allowing = {line.files["type"] for line in lines if line.files["allow"] == "Y"}
    if decided := sorted(allowing & set(CORE)):
        message = (
            f"pages in use are not spared where `{decided[0]}` allows:"
            " that is decided before the kernel looks at pages"
        )
        hint = f"write a scheme for each `allow` on `{decided[0]}`, and no other filter after it"
        out.found.append(Diagnostic.warning("DP0608", at.key, message, hint=hint))
    elif allowing:
        message = "young pages are rejected first, before any filter of this scheme"
        hint = "name `young` in a filter to decide otherwise"
        out.found.append(Diagnostic.note("DP0603", at.key, message, hint=hint))
    return lines


def _target(target: Target) -> TargetLine:
    regions = tuple((region.start, region.end) for region in target.regions or ())
    if target.process is not None:
        return TargetLine(selector=Selector(**target.process.conditions), regions=regions)
    if target.numa_node is not None:
        return TargetLine(node=target.numa_node)
    return TargetLine(system_ram=bool(target.system_ram), regions=regions)


def may_be_chosen(part: Scheme | Kdamond, capabilities: Capabilities) -> bool:
    """Return whether a part's `when` may hold on this kernel; true if unknown or wrong."""
    with suppress(Unread):
        when = part.when
        if when is None:
            return True
        named = (when.not_ if when.feature is None else when.feature) or ""
        if named in capabilities.answers:
            return capabilities.has(named) is (when.feature is not None)
    return True
