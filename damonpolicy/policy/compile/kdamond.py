"""Compilation of models to the files of a kdamond's directory, for one kernel.

Each kernel file is one `put`, with its place in the policy. Afterwards, every file and word is
looked up in the features table, to find what the kernel lacks.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.units import U32_MAX
from damonpolicy.kernel.damon.actions import traits
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.kernel.system.processes import Selector
from damonpolicy.plan.ir import CompiledKdamond, FilterLine, TargetLine
from damonpolicy.plan.uncommitted import ignored
from damonpolicy.policy.compile import filters as plan_filters
from damonpolicy.policy.compile import tuning
from damonpolicy.policy.compile.plain import plain_files
from damonpolicy.policy.compile.quotas import Quotas, pressed
from damonpolicy.policy.compile.sample import early_files, sample_files
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.probes import PROBED, Probe
from damonpolicy.policy.model.scalars import Unread
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.targets import Target
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import readable

__all__ = ("Compiler", "may_be_chosen")

_OF_PROBES = ("filters", "weight", "preps", "optional")


class Compiler(Quotas):
    """A compiler of one kdamond; ``found`` collects refusals, warnings and notes."""

    def kdamond(self, kdamond: Kdamond, at: Cursor) -> CompiledKdamond:
        """Compile; the result is valid only if ``found`` has no error afterwards.

        Raises Unread if the policy is too wrong for a result; ``found`` is complete then, too.
        """
        context = "contexts/0"
        attributes = f"{context}/monitoring_attrs"
        self.put("contexts/nr_contexts", 1, at)
        self.put_field(f"{context}/operations", lambda: kdamond.ops, at("ops"))
        for path, value, key in plain_files(kdamond):
            self.put_field(path, value, at(*key))
        self.part(self._intervals, kdamond, f"{attributes}/intervals", at("intervals"))
        self.part(self._accesses, kdamond, context, at("accesses"))
        self.part(self._probes, kdamond, f"{attributes}/probes", at("probes"))
        self.part(self._schemes, kdamond, f"{context}/schemes", at("schemes"))
        self.refuse_missing()
        if f"{context}/operations" not in self.files:
            raise Unread
        obsolete, warm = self.capabilities.known("target.obsolete") == "yes", kdamond.temperature
        return CompiledKdamond(
            policy=self.policy,
            name=kdamond.name,
            files=self.files,
            targets=tuple(_target(target) for target in kdamond.targets),
            filters=self.filters,
            names=self.names,
            target_files={"obsolete_target": "N"} if obsolete else {},
            wait=kdamond.when_absent == "wait",
            commit=self._commit(),
            uncommitted=ignored(self.capabilities),
            feeds=tuple(self.feeds),
            commit_every=max(kdamond.commit_every, pressed(kdamond)),
            temperature=(warm.size, warm.access_rate, warm.age) if warm else None,
        )

    def _commit(self) -> Literal["answered", "waits", "none"]:
        """Return how this kernel handles a commit.

        Up to 6.12 it waits for a scheme to wake up, with the lock of all DAMON files held; since
        the commit "mm/damon/sysfs: use damon_call() for commit command" the kdamond answers.
        """
        if not self.capabilities.has("commit"):
            return "none"
        return "answered" if self.capabilities.known("commit.checked") == "yes" else "waits"

    def _intervals(self, kdamond: Kdamond, base: str, at: Cursor) -> None:
        intervals = kdamond.intervals
        self.put_field(f"{base}/sample_us", lambda: intervals.sampling, at("sample"))
        self.put_field(f"{base}/aggr_us", lambda: intervals.aggregating, at("aggregation"))
        tune = intervals.auto_tune
        goal, inside = f"{base}/intervals_goal", at("auto_tune")
        observe = int(tune.observe * 10_000) if tune else 0
        self.put(f"{goal}/access_bp", observe, inside)
        self.put(f"{goal}/aggrs", tune.aggregations if tune else 0, inside)
        self.put(f"{goal}/min_sample_us", tune.min_sample if tune else 0, inside)
        self.put(f"{goal}/max_sample_us", tune.max_sample if tune else 0, inside)

    def _accesses(self, kdamond: Kdamond, context: str, at: Cursor) -> None:
        accesses, base = kdamond.accesses, f"{context}/monitoring_attrs/sample"
        # all of them, unless more is put below
        self.put(f"{base}/primitives/page_table", True, at)
        self.put(f"{base}/primitives/page_fault", False, at)
        self.put(f"{base}/filters/nr_filters", 0, at)
        for name in ("use_reports", "write_only"):
            self.put(f"{context}/operations_attrs/{name}", False, at)
        if accesses is None or accesses.everything:
            return
        early = self._early()
        if early and accesses.kind != "read":
            found = early_files(accesses, self.machine)
            files = {f"{context}/operations_attrs/{name}": each for name, each in found.items()}
        else:
            parts = (
                ("sample", True),
                ("sample.write", accesses.kind != "any"),
                ("sample.cpus", "cpus" in accesses.model_fields_set),
                ("sample.threads", "threads" in accesses.model_fields_set),
            )
            needed = [name for name, wanted in parts if wanted]
            lacks = [name for name in needed if not self.capabilities.has(name)]
            if early and not accesses.optional:
                message = "this kernel can select writes, but has no word for reads"
                self.refuse(at("kind"), "sample", message)
                return
            if accesses.optional and lacks:
                message = f"counting {accesses.described} is left out: all accesses count"
                self.left_out(at, message, self.lacking(needed))
                return
            for name in lacks[:1]:
                self.refuse(at, name)
            found = sample_files(accesses, self.machine)
            files = {f"{base}/{name}": each for name, each in found.items()}
        self.uses_faults = True
        if not early and self.capabilities.has("sample"):
            message = "kernels seen so far never free or merge a page that a fault has reported"
            hint = "let it run for minutes, watch free memory, and switch KSM on without it"
            self.found.append(Diagnostic.warning("DP0604", at.spot, message, hint=hint))
        for path, value in files.items():
            self.put(path, value, at)

    def _early(self) -> bool:
        """Return whether the kernel has the form of access filters that came before ``sample/``."""
        known = self.capabilities.known
        return known("sample") != "yes" and known("operations_attrs") == "yes"

    def _probes(self, kdamond: Kdamond, base: str, at: Cursor) -> None:
        kept: list[tuple[int, Probe]] = []
        physical = kdamond.known("ops", "paddr") == "paddr"
        for index, probe in readable(kdamond.probes, *_OF_PROBES):
            known = [each for _, each in readable(probe.filters, "given")]
            needed = ["probes", *(f"probe.{each.type}" for each in known if each.type in PROBED)]
            needed += ["probe.weight"] if probe.weight else []
            needed += ["probe.preps"] if probe.preps or not physical else []
            if probe.optional and not self.has_all(needed):
                message = f"the probe `{probe.known('name')}` is left out"
                self.left_out(at(index, "name"), message, self.lacking(needed))
            else:
                kept.append((index, probe))
        # 7.2 and 7.3 accept them for processes and never use them (seen in guests). No feature of
        # its own marks a kernel that does; the one that was seen to has preparations too.
        if kept and not physical and not self.has_all(["probe.preps"]):
            message = f"this kernel takes probes on `{kdamond.ops}` and counts nothing"
            self.refuse(at, "probe.preps", message)
        self.put(f"{base}/nr_probes", len(kept), at)
        for number, (index, probe) in enumerate(kept):
            directory, place = f"{base}/{number}", at(index)
            self.names[directory] = probe.known("name", "")
            self.put(f"{directory}/weight", probe.weight, place("weight"))
            self.put(f"{directory}/preps/nr_preps", len(probe.preps), place("preps"))
            for order, prep in enumerate(probe.preps):
                self.put(f"{directory}/preps/{order}/prep_action", prep, place("preps", order))
            every = [each for _, each in readable(probe.filters, "given")]
            self.filters[f"{directory}/filters"] = plan_filters.probe_lines(every)
            self.origins[f"{directory}/filters"] = place("filters")

    def _schemes(self, kdamond: Kdamond, base: str, at: Cursor) -> None:
        kept: list[tuple[int, Scheme]] = []
        for index, scheme in readable(kdamond.schemes, "when", "optional"):
            if not may_be_chosen(scheme, self.capabilities):
                message = f"the alternative `{scheme.known('name')}` is not for this kernel"
                self.found.append(Diagnostic.note("DP0602", at(index, "when").key, message))
                continue
            if scheme.optional:
                trial = Compiler(self.policy, self.capabilities, self.machine, served=self.served)
                trial._scheme(scheme, kdamond, f"{base}/0", at(index))
                trial.refuse_missing()
                refused = [each for each in trial.found if each.severity == "error"]
                if refused:
                    message = f"the scheme `{scheme.known('name')}` is left out"
                    self.left_out(at(index, "name"), message, refused[0].message)
                    continue
            kept.append((index, scheme))
        self.put(f"{base}/nr_schemes", len(kept), at)
        for number, (index, scheme) in enumerate(kept):
            self._scheme(scheme, kdamond, f"{base}/{number}", at(index))

    def _scheme(self, scheme: Scheme, kdamond: Kdamond, base: str, at: Cursor) -> None:
        self.names[base] = scheme.known("name", "")
        self.part(self._action, scheme, kdamond, base, at)
        self.part(self._destinations, scheme, base, at("to"))
        self.part(self._pattern, scheme, kdamond, f"{base}/access_pattern", at("access_pattern"))
        for path, value, key in plain_files(scheme, base):
            self.put_field(path, value, at(*key))
        self.part(self.quota, scheme, kdamond, f"{base}/quotas", at("quota"))
        self.part(self._filters, scheme, kdamond, base, at("filters"))

    def _action(self, scheme: Scheme, kdamond: Kdamond, base: str, at: Cursor) -> None:
        self.put(f"{base}/action", scheme.action, at("action"))
        known = traits(kdamond.ops, scheme.action)
        if known.needs and not self.capabilities.has(known.needs):
            self.refuse(
                at("action"),
                known.needs,
                f"this kernel accepts `{scheme.action}` on `{kdamond.ops}` and does nothing",
            )

    def _destinations(self, scheme: Scheme, base: str, at: Cursor) -> None:
        nodes = scheme.to if isinstance(scheme.to, tuple) else ()
        single = scheme.to if isinstance(scheme.to, int) else -1
        self.put(f"{base}/target_nid", single, at)
        self.put(f"{base}/dests/nr_dests", len(nodes), at)
        for index, each in readable(nodes, "node", "weight"):
            self.put(f"{base}/dests/{index}/id", each.node, at(index, "node"))
            self.put(f"{base}/dests/{index}/weight", each.weight, at(index, "weight"))

    def _pattern(self, scheme: Scheme, kdamond: Kdamond, base: str, at: Cursor) -> None:
        pattern_, samples = scheme.access_pattern, kdamond.intervals.samples
        rate, age = pattern_.access_rate, pattern_.age
        lowest = 0 if rate.min is None else rate.min.least(samples)
        highest = U32_MAX if rate.max is None else rate.max.most(samples)
        self.put(f"{base}/nr_accesses/min", lowest, at("access_rate", "min"))
        self.put(f"{base}/nr_accesses/max", highest, at("access_rate", "max"))
        aggregating = max(kdamond.intervals.aggregating, 1)  # 0 is wrong, and was reported
        youngest = 0 if age.min is None else age.min.least(aggregating)
        oldest = U32_MAX if age.max is None else age.max.most(aggregating)
        self.put(f"{base}/age/min", youngest, at("age", "min"))
        self.put(f"{base}/age/max", oldest, at("age", "max"))
        tuned = kdamond.intervals.auto_tune is not None and scheme.retune_age and self.served
        for side, bound, count in (("min", age.min, youngest), ("max", age.max, oldest)):
            if tuned and bound is not None and not bound.aggregations:
                name, of = (
                    f"{kdamond.name}/{scheme.name}/age.{side}",
                    f"{self.policy}/{kdamond.name}",
                )
                path, least = f"{base}/age/{side}", side == "min"
                self.loops.append(
                    tuning.age(name, kdamond.name, path, bound.value, count, of, least=least)
                )

    def _filters(self, scheme: Scheme, kdamond: Kdamond, base: str, at: Cursor) -> None:
        every = [each for _, each in readable(scheme.filters, "given")]
        lines = plan_filters.lines(every, self.capabilities, self.machine)
        if kdamond.known("ops") == "paddr":
            lines = plan_filters.asked_of_pages(lines, self.capabilities)
        pages = [line for line in lines if line.files["type"] not in CORE]
        if pages:
            self.part(self._filters_needed, scheme, kdamond, at)
        named = any(line.files["type"] == "young" for line in lines)
        physical = scheme.known("action") == "pageout" and kdamond.known("ops") == "paddr"
        first = scheme.known("young") == "first"
        if physical and first and not named and self.capabilities.has("filter.young"):
            lines = self._spare_young(lines, at)
        split = plan_filters.split(
            lines, self.capabilities, together=scheme.filters_in == "filters"
        )
        for directory, each in split.items():
            self.filters[f"{base}/{directory}"] = each
            self.origins[f"{base}/{directory}"] = at

    def _filters_needed(self, scheme: Scheme, kdamond: Kdamond, at: Cursor) -> None:
        need = traits(kdamond.ops, scheme.action).filters_need
        if need and not self.capabilities.has(need):
            message = f"this kernel ignores page-level filters of `{scheme.action}`"
            self.refuse(at, need, f"{message} on `{kdamond.ops}`")

    def _spare_young(self, lines: list[FilterLine], at: Cursor) -> list[FilterLine]:
        """Reject young pages first, if the kernel can; note where the effect is not obvious."""
        lines = plan_filters.spare_young(lines)
        allowing = {line.files["type"] for line in lines if line.files["allow"] == "Y"}
        if decided := sorted(allowing & set(CORE)):
            message = (
                f"pages in use are not spared where `{decided[0]}` allows:"
                " that is decided before the kernel looks at pages"
            )
            hint = (
                f"write a scheme for each `allow` on `{decided[0]}`, and no other filter after it"
            )
            self.found.append(Diagnostic.warning("DP0608", at.key, message, hint=hint))
        elif allowing:
            message = "young pages are rejected first, before any filter of this scheme"
            hint = "name `young` in a filter to decide otherwise"
            self.found.append(Diagnostic.note("DP0603", at.key, message, hint=hint))
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
