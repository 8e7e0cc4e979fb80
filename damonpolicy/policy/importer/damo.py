"""Reader of damo's configuration files, into trees of kdamonds as damo would write them.

The form is that of `damo args damon` and of its options `--kdamonds` and `--schemes`, version
3.4.3; older files lack keys, and have filters and goals of an older form. Sizes are rounded to three decimals where
damo wrote them.
"""

from __future__ import annotations

from typing import get_args

from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.kernel.damon.actions import ACTIONS
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.policy.importer.damo_pattern import Intervals, bounds
from damonpolicy.policy.importer.damo_values import (
    BYTES,
    COUNT,
    MICRO,
    MILLI,
    Kind,
    Place,
    Report,
    share,
)
from damonpolicy.policy.importer.policy import Source
from damonpolicy.policy.model.probes import PROBED
from damonpolicy.policy.model.quotas import Metric, TunerName
from damonpolicy.policy.source.nodes import Mapping, Node, Scalar, Sequence

__all__ = ("sources",)

_CONTEXT = "contexts/0"
_LAYERS = {
    "core_filters": CORE,
    "ops_filters": ("anon", "active", "memcg", "young", "hugepage_size", "unmapped"),
}
"""The types of filters that each directory takes."""
_OF_SCHEMES = ("action", "access_pattern", "quotas", "filters", "watermarks")
_SAMPLED = ("cpumask", "threads", "write")
_PERMIL, _BASIS_POINTS = share(1000), share(10_000)
_ELIGIBLE = "node_eligible_mem_bp"


def sources(top: Node | None, name: str, ops: str = "") -> tuple[list[Source], list[Diagnostic]]:
    """Return the kdamonds of a file, and its errors.

    A list of schemes, as damo's `--schemes` takes it, is for one kdamond with ``ops``, by default
    for all memory.
    """
    report = Report()
    if schemes := _schemes(top):
        kdamond = _around(schemes, ops or "paddr")
        made = _Tree(kdamond, report)
        report.unknown()
        physical = not ops or ops == "paddr"
        where = f"the schemes of {name}"
        one = Source(where, "kdamond-0", made.files, spans=made.spans, system_ram=physical)
        return [one], report.found
    if ops and top is not None:
        hint = "leave `--ops` out: the file says for each kdamond what it is"
        return [], [
            Diagnostic.error("DP0621", top.span, "this is not a list of schemes", hint=hint)
        ]
    listed: Node | None = top
    if isinstance(top, Mapping):
        whole = Place(top, top.span, report)
        listed = Sequence(whole.items("kdamonds"), top.span) if whole.has("kdamonds") else None
    if not isinstance(listed, Sequence):
        hint = "`damo args damon --format yaml` writes one"
        message = f"`{name}` is not a damo configuration: it has no list of `kdamonds`"
        span = top.span if top else Span(name, 1, 1, 1, 2)
        return [], [Diagnostic.error("DP0621", span, message, hint=hint)]
    if not listed.items:
        report.wrong(listed.span, "this configuration has no kdamond")
    result = []
    for index, each in enumerate(listed.items):
        made = _Tree(each, report)
        where = f"kdamond {index} of {name}"
        result.append(Source(where, f"kdamond-{index}", made.files, spans=made.spans))
    report.unknown()
    return result, report.found


def _schemes(top: Node | None) -> Sequence | None:
    """Return a list of schemes; None for anything else."""
    if not isinstance(top, Sequence) or not top.items:
        return None
    each_is = [
        isinstance(each, Mapping) and not each.key("contexts") and any(map(each.key, _OF_SCHEMES))
        for each in top.items
    ]
    return top if all(each_is) else None


def _around(schemes: Sequence, ops: str) -> Mapping:
    """Return the kdamond that damo makes of schemes."""
    span = schemes.span

    def one(key: str, value: Node) -> tuple[Scalar, Node]:
        return Scalar(key, span), value

    context = Mapping((one("ops", Scalar(ops, span)), one("schemes", schemes)), span)
    return Mapping((one("contexts", Sequence((context,), span)),), span)


class _Tree:
    """The files of one kdamond's directory, with the place of each."""

    def __init__(self, kdamond: Node, report: Report) -> None:
        self.files: dict[str, str] = {}
        self.report = report
        self.spans: dict[str, Span] = {"": kdamond.span}
        self.intervals = Intervals(5_000, 100_000)
        place = Place(kdamond, kdamond.span, report)
        self.put("refresh_ms", place.amount("refresh_ms", 0, MILLI))
        place.ignore("state", "pid")
        contexts = list(place.each("contexts"))
        if place.has("action"):
            place.ignore(*(key.text for key, _ in place.node.items))
            hint = "put it below `kdamonds: [{contexts: [{ops: paddr, schemes: …}]}]`"
            report.wrong(place.node.span, "this is a scheme, not a kdamond", hint)
        elif len(contexts) != 1:
            message = f"this kdamond has {len(contexts)} contexts, and kernels take one"
            report.wrong(place.node.span, message)
        self.put("contexts/nr_contexts", "1")
        for each in contexts[1:]:
            each.ignore(*(key.text for key, _ in each.node.items))
        for each in contexts[:1]:
            self._context(each)

    def put(self, path: str, value: str) -> None:
        """Set a file to the value that was just read."""
        self.files[path] = value
        if self.report.here is not None:
            self.spans[path] = self.report.here

    def _context(self, at: Place) -> None:
        attributes = f"{_CONTEXT}/monitoring_attrs"
        self.put(f"{_CONTEXT}/operations", at.word("ops", "vaddr", ACTIONS))
        self.put(f"{_CONTEXT}/addr_unit", at.amount("addr_unit", 1, BYTES))
        self.put(f"{_CONTEXT}/pause", at.truth("pause"))
        intervals = at("intervals")
        self.intervals = Intervals(
            intervals.number("sample_us", 5000, MICRO), intervals.number("aggr_us", 100_000, MICRO)
        )
        goal = intervals("intervals_goal")
        here = f"{attributes}/intervals"
        self.spans[here] = intervals.node.span
        self.put(f"{here}/sample_us", intervals.amount("sample_us", 5000, MICRO))
        self.put(f"{here}/aggr_us", intervals.amount("aggr_us", 100_000, MICRO))
        self.put(f"{here}/update_us", intervals.amount("ops_update_us", 1_000_000, MICRO))
        here += "/intervals_goal"
        self.spans[here] = goal.node.span
        self.put(f"{here}/access_bp", goal.amount("access_bp", 0, _BASIS_POINTS))
        self.put(f"{here}/aggrs", goal.amount("aggrs", 0, COUNT))
        self.put(f"{here}/min_sample_us", goal.amount("min_sample_us", 0, MICRO))
        self.put(f"{here}/max_sample_us", goal.amount("max_sample_us", 0, MICRO))
        regions = at("nr_regions")
        self.spans[f"{attributes}/nr_regions"] = regions.node.span
        for bound, usual in (("min", 10), ("max", 1000)):
            self.put(f"{attributes}/nr_regions/{bound}", regions.amount(bound, usual, COUNT))
        self._sample(at("sample_control"), f"{attributes}/sample")
        self._probes(at, f"{attributes}/probes")
        self._targets(at, f"{_CONTEXT}/targets")
        schemes = list(at.each("schemes"))
        self.put(f"{_CONTEXT}/schemes/nr_schemes", str(len(schemes)))
        for index, scheme in enumerate(schemes):
            self._scheme(scheme, f"{_CONTEXT}/schemes/{index}")

    def _sample(self, at: Place, base: str) -> None:
        enabled = at("primitives_enabled")
        self.put(f"{base}/primitives/page_table", enabled.truth("page_table", usual=True))
        self.put(f"{base}/primitives/page_fault", enabled.truth("page_fault"))
        filters = list(at.each("sample_filters"))
        self.put(f"{base}/filters/nr_filters", str(len(filters)))
        for index, each in enumerate(filters):
            here = f"{base}/filters/{index}"
            self.spans[here] = each.node.span
            self.put(f"{here}/type", each.word("filter_type", "cpumask", _SAMPLED))
            self.put(f"{here}/matching", each.truth("matching", literal=True))
            self.put(f"{here}/allow", each.truth("allow", literal=True))
            self.put(f"{here}/cpumask", each.text("cpumask"))
            self.put(f"{here}/tid_arr", self._threads(each))

    def _threads(self, at: Place) -> str:
        """Return threads as the kernel lists them; damo passes its text on unchanged."""
        if isinstance(at.node.get("tid_arr"), Sequence):
            return ",".join(str(at.read(node, COUNT)) for node in at.items("tid_arr"))
        node = at.scalar("tid_arr")
        if node is None or not node.text:
            return ""
        threads = node.text.split(",")
        if not all(each.isascii() and each.isdecimal() and len(each) < 11 for each in threads):
            message = f"`{node.text[:40]}` is not a list of threads as the kernel writes them"
            self.report.wrong(node.span, message, "write `811,815`")
            return ""
        return ",".join(str(int(each)) for each in threads)

    def _probes(self, at: Place, base: str) -> None:
        probes = list(at.each("probes"))
        self.put(f"{base}/nr_probes", str(len(probes)))
        for index, probe in enumerate(probes):
            here = f"{base}/{index}"
            self.spans[here] = probe.node.span
            self.put(f"{here}/weight", probe.amount("weight", 0, COUNT))
            preps, filters = list(probe.each("preps")), list(probe.each("filters"))
            self.put(f"{here}/preps/nr_preps", str(len(preps)))
            for number, prep in enumerate(preps):
                action = prep.word("prep_action", "set_pgidle", ("set_pgidle",))
                self.put(f"{here}/preps/{number}/prep_action", action)
            self.put(f"{here}/filters/nr_filters", str(len(filters)))
            for number, each in enumerate(filters):
                place = f"{here}/filters/{number}"
                self.spans[place] = each.node.span
                self.put(f"{place}/type", each.word("filter_type", "anon", PROBED))
                self.put(f"{place}/matching", each.truth("matching"))
                self.put(f"{place}/allow", each.truth("allow"))
                self.put(f"{place}/path", each.text("path"))
                self.put(f"{place}/min", each.amount("range_min", 0, BYTES))
                self.put(f"{place}/max", each.amount("range_max", 0, BYTES))

    def _targets(self, at: Place, base: str) -> None:
        targets = list(at.each("targets"))
        self.put(f"{base}/nr_targets", str(len(targets)))
        for index, target in enumerate(targets):
            here = f"{base}/{index}"
            self.spans[here] = target.node.span
            self.put(f"{here}/pid_target", target.amount("pid", 0, COUNT))
            self.put(f"{here}/obsolete_target", target.truth("obsolete"))
            regions = list(target.each("regions"))
            self.put(f"{here}/regions/nr_regions", str(len(regions)))
            for number, region in enumerate(regions):
                self.spans[f"{here}/regions/{number}"] = region.node.span
                for bound in ("start", "end"):
                    self.put(f"{here}/regions/{number}/{bound}", region.amount(bound, 0, BYTES))

    def _scheme(self, at: Place, base: str) -> None:
        self.spans[base] = at.node.span
        self.put(f"{base}/action", at.word("action", "stat", ACTIONS["paddr"]))
        nowhere = at.text("target_nid", "-1") == "-1"
        self.put(f"{base}/target_nid", "-1" if nowhere else at.amount("target_nid", -1, COUNT))
        dests = list(at.each("dests"))
        self.put(f"{base}/dests/nr_dests", str(len(dests)))
        for index, each in enumerate(dests):
            self.spans[f"{base}/dests/{index}"] = each.node.span
            for name in ("id", "weight"):
                self.put(f"{base}/dests/{index}/{name}", each.amount(name, 0, COUNT))
        self._pattern(at("access_pattern"), f"{base}/access_pattern")
        every = at.amount("apply_interval_us", 0, MICRO)
        self.put(f"{base}/apply_interval_us", every)
        self._quota(at("quotas"), f"{base}/quotas")
        marks = at("watermarks")
        self.spans[f"{base}/watermarks"] = marks.node.span
        self.put(
            f"{base}/watermarks/metric", marks.word("metric", "none", ("none", "free_mem_rate"))
        )
        self.put(f"{base}/watermarks/interval_us", marks.amount("interval_us", 0, MICRO))
        for name in ("high", "mid", "low"):
            value = marks.amount(f"{name}_permil", 0, _PERMIL)
            self.put(f"{base}/watermarks/{name}", value)
        at.ignore("stats", "tried_regions", "tried_bytes")
        self.put(f"{base}/stats/max_nr_snapshots", at.amount("max_nr_snapshots", 0, COUNT))
        self._unread(at, "max_nr_snapshots", *_LAYERS)
        self._filters(at, base)

    def _pattern(self, at: Place, base: str) -> None:
        self.spans[base] = at.node.span
        for path, value in bounds(at, self.intervals):
            self.put(f"{base}/{path}", value)

    def _quota(self, at: Place, base: str) -> None:
        self.spans[base] = at.node.span
        self.put(f"{base}/ms", at.amount("time_ms", 0, MILLI))
        self.put(f"{base}/bytes", at.amount("sz_bytes", 0, BYTES))
        self.put(f"{base}/reset_interval_ms", at.amount("reset_interval_ms", 0, MILLI))
        for name in ("num", "denom"):
            self.put(f"{base}/fail_charge_{name}", at.amount(f"fail_charge_{name}", 0, COUNT))
        self.put(f"{base}/goal_tuner", at.word("goal_tuner", "consist", get_args(TunerName)))
        at.ignore("effective_sz_bytes")
        weights = at("weights")
        for name in ("sz", "nr_accesses", "age"):
            weight = weights.amount(f"{name}_permil", 0, _PERMIL)
            self.put(f"{base}/weights/{name}_permil", weight)
        goals = list(at.each("goals"))
        self.put(f"{base}/goals/nr_goals", str(len(goals)))
        for index, goal in enumerate(goals):
            here = f"{base}/goals/{index}"
            self.spans[here] = goal.node.span
            metric = goal.word("metric", "user_input", get_args(Metric))
            self.put(f"{here}/target_metric", metric)
            kind = MICRO if metric == "some_mem_psi_us" else COUNT
            if metric.endswith("_bp") and metric != _ELIGIBLE:
                kind = _BASIS_POINTS
            for name, each in (("target_value", kind), ("current_value", COUNT)):
                # in old versions all goals were shares, of nothing that the kernel measures
                old = not goal.has(name) and goal.has(f"{name}_bp")
                self.put(f"{here}/{name}", goal.amount(f"{name}_bp" if old else name, 0, each))
            self.put(f"{here}/nid", goal.amount("nid", 0, COUNT))
            if metric == _ELIGIBLE and self.files[f"{here}/nid"] != "0":
                message = f"damo does not write `nid` for `{metric}`: it is of node 0"
                hint = "write the node that you want into the policy"
                self.report.told(self.spans[f"{here}/nid"], message, hint)
                self.files[f"{here}/nid"] = "0"
            self.put(f"{here}/path", goal.text("memcg_path"))
            self.put(f"{here}/complement", goal.truth("complement"))

    def _filters(self, at: Place, base: str) -> None:
        layers = {name: list(at.each(name)) for name in ("core_filters", "ops_filters")}
        for each in at.each("filters"):
            core = each.text("filter_type") in CORE
            layers["core_filters" if core else "ops_filters"].append(each)
        for layer, filters in layers.items():
            self.put(f"{base}/{layer}/nr_filters", str(len(filters)))
            for index, each in enumerate(filters):
                here = f"{base}/{layer}/{index}"
                self.spans[here] = each.node.span
                self._filter(each, here, each.word("filter_type", "anon", _LAYERS[layer]))
        self.put(f"{base}/filters/nr_filters", "0")

    def _unread(self, at: Place, *keys: str) -> None:
        """Report keys that look meaningful, but that damo ignores."""
        for key in keys:
            if (said := at.node.key(key)) and at.has(key):
                message = f"damo does not look at `{key}` in a file, and the policy does"
                hint = "leave it out of the policy if it is to do what damo does"
                self.report.told(said.span, message, hint)

    def _filter(self, at: Place, here: str, kind: str) -> None:
        self.put(f"{here}/type", kind)
        self.put(f"{here}/matching", at.truth("matching", usual=True))
        # the older form calls it `filter_pass`, and lacks it if filters only reject
        self.put(f"{here}/allow", at.truth("allow" if at.has("allow") else "filter_pass"))
        self.put(f"{here}/memcg_path", at.text("memcg_path"))
        addresses = at("address_range")
        for bound in ("start", "end"):
            self.put(f"{here}/addr_{bound}", addresses.amount(bound, 0, BYTES))
        self.put(f"{here}/damon_target_idx", at.amount("damon_target_idx", 0, COUNT))
        ranges = [("probe_hits_wsum_range", COUNT), ("hugepage_size", BYTES)]
        for key, unit in ranges if kind == "hugepage_size" else reversed(ranges):
            bounds = self._range(at, key, unit)  # the last is part of the range
        at.has("hugepage_size" if kind == "hugepage_size" else "probe_hits_wsum_range")
        for name, value in zip(("min", "max"), bounds, strict=True):
            self.put(f"{here}/{name}", value)

    def _range(self, at: Place, key: str, kind: Kind) -> tuple[str, str]:
        """Return the ends of a range, which is a list of two values or a mapping."""
        if isinstance(at.node.get(key), Mapping):
            ends = at(key)
            message = f"damo takes any mapping as all values of `{key}`, and the policy as written"
            self.report.told(ends.node.span, message, "damo reads a list: `[2 M, 2 M]`")
            return ends.amount("min", 0, kind), ends.amount("max", 0, kind)
        items = at.items(key)
        if len(items) == 2:
            return str(at.read(items[0], kind)), str(at.read(items[1], kind))
        if items:
            at.report.wrong(items[0].span, f"`{key}` has two ends")
        return "0", "0"
