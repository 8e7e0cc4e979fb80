"""Reader of damo's configuration files, into trees of kdamonds as damo would write them.

The form is that of `damo args damon` and of its options `--kdamonds` and `--schemes`, version
3.4.3; older files lack keys, and have filters and goals of an older form. Sizes are rounded to three decimals where
damo wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import TypeVar

from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U64_MAX
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.actions import ACTIONS
from damonpolicy.kernel.damon.directory import Directory, File, Numbered
from damonpolicy.kernel.damon.schema import LAYERS
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.policy.importer.damo_values import (
    BYTES,
    COUNT,
    KINDS,
    MICRO,
    PERCENT,
    Kind,
    Place,
    Quantity,
    Report,
)
from damonpolicy.policy.importer.policy import Source
from damonpolicy.policy.model.probes import PROBED
from damonpolicy.policy.source.nodes import Mapping, Node, Scalar, Sequence

__all__ = ("sources",)

D = TypeVar("D", bound=Directory)

_SLOT = view.Kdamond()
_OF_SCHEMES = ("action", "access_pattern", "quotas", "filters", "watermarks")
_ELIGIBLE = "node_eligible_mem_bp"


def sources(top: Node | None, name: str, ops: str = "") -> tuple[list[Source], list[Diagnostic]]:
    """Return the kdamonds of a file, and its errors.

    A list of schemes, as damo's `--schemes` takes it, is for one kdamond with ``ops``, by default
    for all memory.
    """
    report = Report()
    schemes = _schemes(top)
    listed: Node | None = top
    if schemes:
        listed = Sequence((_around(schemes, ops or "paddr"),), schemes.span)
    elif ops and top is not None:
        hint = "leave `--ops` out: the file says for each kdamond what it is"
        message = "this is not a list of schemes"
        return [], [Diagnostic.error("DP0621", top.span, message, hint=hint)]
    elif isinstance(top, Mapping):
        whole = Place(top, top.span, report)
        listed = Sequence(whole.items("kdamonds"), top.span) if whole.has("kdamonds") else None
    if not isinstance(listed, Sequence):
        hint = "`damo args damon --format yaml` writes one"
        message = f"`{name}` is not a damo configuration: it has no list of `kdamonds`"
        span = top.span if top else Span(name, 1, 1, 1, 2)
        return [], [Diagnostic.error("DP0621", span, message, hint=hint)]
    if not listed.items:
        report.wrong(listed.span, "this configuration has no kdamond")
    physical = schemes is not None and ops in ("", "paddr")
    result = []
    for index, each in enumerate(listed.items):
        made = _Tree(each, report)
        where = f"the schemes of {name}" if schemes else f"kdamond {index} of {name}"
        result.append(Source(where, f"kdamond-{index}", made.files, {}, made.spans, physical))
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
    named = ((Scalar("ops", span), Scalar(ops, span)), (Scalar("schemes", span), schemes))
    contexts = Sequence((Mapping(named, span),), span)
    return Mapping(((Scalar("contexts", span), contexts),), span)


class _Tree:
    """The files of one kdamond's directory, with the place of each."""

    def __init__(self, kdamond: Node, report: Report) -> None:
        self.files: dict[str, str] = {}
        self.report = report
        self.spans: dict[str, Span] = {"": kdamond.span}
        self.intervals = _Intervals(5_000, 100_000)
        place = Place(kdamond, kdamond.span, report)
        self.take(place, _SLOT.refresh)
        place.ignore("state", "pid")
        contexts = list(place.each("contexts"))
        if place.has("action"):
            place.ignore(*(key.text for key, _ in place.node.items))
            hint = "put it below `kdamonds: [{contexts: [{ops: paddr, schemes: …}]}]`"
            report.wrong(place.node.span, "this is a scheme, not a kdamond", hint)
        elif len(contexts) != 1:
            message = f"this kdamond has {len(contexts)} contexts, and kernels take one"
            report.wrong(place.node.span, message)
        self.put(_SLOT.contexts, "1")
        for each in contexts[1:]:
            each.ignore(*(key.text for key, _ in each.node.items))
        for each in contexts[:1]:
            self._context(each)

    def put(self, file: File, value: str) -> None:
        """Set a file to the value that was just read."""
        self.files[file.path] = value
        if self.report.here is not None:
            self.spans[file.path] = self.report.here

    def take(self, at: Place, *files: File, **renamed: File) -> None:
        """Set files to the values of damo's keys, which are the names of files or ``renamed``."""
        for key, file in ({each.name: each for each in files} | renamed).items():
            self.put(file, at.value(key, file.row))

    def inside(self, at: Place, directory: Directory) -> Place:
        """Return the mapping that has a directory's name, and is for it."""
        place = at(directory.name)
        self.spans[directory.path] = place.node.span
        return place

    def each(self, places: Iterable[Place], own: Numbered[D]) -> Iterator[tuple[Place, D]]:
        """Yield the mappings of a list, each with its numbered directory."""
        listed = list(places)
        self.put(own.count, str(len(listed)))
        for index, place in enumerate(listed):
            self.spans[own[index].path] = place.node.span
            yield place, own[index]

    def _context(self, at: Place) -> None:
        self.take(at, ops=_SLOT.ops)
        self.put(_SLOT.addr_unit, at.amount(_SLOT.addr_unit.name, 1, BYTES))
        self.take(at, _SLOT.paused)
        own, goal = _SLOT.intervals, _SLOT.intervals.auto_tune
        intervals = self.inside(at, own)
        self.intervals = _Intervals(
            intervals.number(own.sample.name, 5000, MICRO),
            intervals.number(own.aggregation.name, 100_000, MICRO),
        )
        tune = self.inside(intervals, goal)
        self.take(intervals, own.sample, own.aggregation)
        self.put(own.update, intervals.amount("ops_update_us", 1_000_000, MICRO))
        self.take(tune, goal.observe, goal.aggregations, goal.min_sample, goal.max_sample)
        regions = _SLOT.region_count
        self.take(self.inside(at, regions), regions.min, regions.max)
        self._sample(at("sample_control"), _SLOT.sample)
        for each, probe in self.each(at.each("probes"), _SLOT.probes):
            self._probe(each, probe)
        for each, target in self.each(at.each("targets"), _SLOT.targets):
            self.take(each, pid=target.pid, obsolete=target.obsolete)
            for ends, region in self.each(each.each("regions"), target.regions):
                self.take(ends, region.start, region.end)
        for each, scheme in self.each(at.each("schemes"), _SLOT.schemes):
            self._scheme(each, scheme)

    def _sample(self, at: Place, sample: view.Sample) -> None:
        self.take(at("primitives_enabled"), sample.page_table, sample.page_fault)
        for each, own in self.each(at.each("sample_filters"), sample.filters):
            self.take(each, filter_type=own.type)
            for file in (own.matching, own.allow):
                self.put(file, each.truth(file.name, literal=True))
            self.take(each, own.cpus)
            self.put(own.threads, self._threads(each, own.threads.name))

    def _threads(self, at: Place, key: str) -> str:
        """Return threads as the kernel lists them; damo passes its text on unchanged."""
        if isinstance(at.node.get(key), Sequence):
            return ",".join(str(at.read(node, COUNT)) for node in at.items(key))
        node = at.scalar(key)
        if node is None or not node.text:
            return ""
        threads = node.text.split(",")
        if not all(each.isascii() and each.isdecimal() and len(each) < 11 for each in threads):
            message = f"`{node.text[:40]}` is not a list of threads as the kernel writes them"
            self.report.wrong(node.span, message, "write `811,815`")
            return ""
        return ",".join(str(int(each)) for each in threads)

    def _probe(self, at: Place, probe: view.Probe) -> None:
        self.take(at, probe.weight)
        for each, prep in self.each(at.each("preps"), probe.preps):
            self.take(each, prep.action)
        for each, own in self.each(at.each("filters"), probe.filters):
            self.put(own.type, each.word("filter_type", "anon", PROBED))
            self.take(
                each, own.matching, own.allow, own.memcg, range_min=own.min, range_max=own.max
            )

    def _scheme(self, at: Place, scheme: view.Scheme) -> None:
        self.put(scheme.action, at.word("action", "stat", ACTIONS["paddr"]))
        to, nowhere = scheme.to.name, scheme.to.row.default
        none = at.text(to, nowhere) == nowhere
        self.put(scheme.to, nowhere if none else at.amount(to, -1, COUNT))
        for each, dest in self.each(at.each("dests"), scheme.dests):
            self.take(each, dest.node, dest.weight)
        pattern, marks = scheme.access_pattern, scheme.watermarks
        regions = self.inside(at, pattern)
        self.take(regions("sz_bytes"), pattern.size.min, pattern.size.max)
        rates = _counted(regions, _RATES, "percent", self.intervals, pattern.access_rate)
        ages = _counted(regions, _AGES, "usec", self.intervals, pattern.age)
        for file, value in chain(rates, ages):
            self.put(file, value)
        self.take(at, scheme.apply_every)
        self._quota(self.inside(at, scheme.quota), scheme.quota)
        awake = self.inside(at, marks)
        self.take(awake, marks.metric, marks.every)
        self.take(awake, high_permil=marks.high, mid_permil=marks.mid, low_permil=marks.low)
        at.ignore("stats", "tried_regions", "tried_bytes")
        self.take(at, scheme.stats.max_snapshots)
        for key in (scheme.stats.max_snapshots.name, *LAYERS):
            if (said := at.node.key(key)) and at.has(key):
                message = f"damo does not look at `{key}` in a file, and the policy does"
                hint = "leave it out of the policy if it is to do what damo does"
                self.report.told(said.span, message, hint)
        self._filters(at, scheme)

    def _quota(self, at: Place, quota: view.Quota) -> None:
        self.take(at, time_ms=quota.time, sz_bytes=quota.size)
        self.take(at, quota.every, quota.fail_charge, quota.fail_charge_of, quota.tuner)
        at.ignore("effective_sz_bytes")
        own = quota.weights
        self.take(at("weights"), own.size, own.access_rate, own.age)
        for each, goal in self.each(at.each("goals"), quota.goals):
            self._goal(each, goal)

    def _goal(self, at: Place, goal: view.Goal) -> None:
        self.take(at, metric=goal.metric)
        metric = self.files[goal.metric.path]
        unit = "count" if metric == _ELIGIBLE else metric.rpartition("_")[2]
        kind = KINDS.get(unit, COUNT)
        for file, each in ((goal.target, kind), (goal.current, COUNT)):
            # in old versions all goals were shares, of nothing that the kernel measures
            old = not at.has(file.name) and at.has(f"{file.name}_bp")
            self.put(file, at.amount(f"{file.name}_bp" if old else file.name, 0, each))
        self.take(at, goal.node)
        if metric == _ELIGIBLE and self.files[goal.node.path] != "0":
            message = f"damo does not write `nid` for `{metric}`: it is of node 0"
            hint = "write the node that you want into the policy"
            self.report.told(self.spans[goal.node.path], message, hint)
            self.files[goal.node.path] = "0"
        self.take(at, memcg_path=goal.cgroup)
        self.take(at, goal.complement)

    def _filters(self, at: Place, scheme: view.Scheme) -> None:
        core, pages = (list(at.each(name)) for name in LAYERS)
        for each in at.each("filters"):
            (core if each.text("filter_type") in CORE else pages).append(each)
        for places, layer in ((core, scheme.core_filters), (pages, scheme.ops_filters)):
            for each, own in self.each(places, layer):
                self._filter(each, own)
        self.put(scheme.filters.count, "0")

    def _filter(self, at: Place, own: view.Filter) -> None:
        self.take(at, filter_type=own.type)
        self.put(own.matching, at.truth(own.matching.name, usual=True))
        # the older form calls it `filter_pass`, and lacks it if filters only reject
        self.put(own.allow, at.truth("allow" if at.has("allow") else "filter_pass"))
        self.take(at, own.memcg)
        self.take(at("address_range"), start=own.start, end=own.end)
        self.take(at, own.target)
        kind = self.files[own.type.path]
        ranges = [("probe_hits_wsum_range", COUNT), ("hugepage_size", BYTES)]
        for key, unit in ranges if kind == "hugepage_size" else reversed(ranges):
            ends = self._range(at, key, unit)  # the last counts
        at.has(key)
        for file, value in zip((own.min, own.max), ends, strict=True):
            self.put(file, value)

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


@dataclass(frozen=True, slots=True)
class _Intervals:
    """Intervals in microseconds as damo computes them, before it truncates."""

    sample: float
    aggregation: float

    @property
    def samples(self) -> float:
        """Samples in an aggregation."""
        return self.aggregation / self.sample if self.sample else 1.0


_RATES = replace(PERCENT, words=("samples",))
_AGES = replace(MICRO, words=("aggr_intervals",))


def _counted(
    at: Place, kind: Kind, usual: str, intervals: _Intervals, files: view.Range
) -> Iterator[tuple[File, str]]:
    """Yield the files of two bounds with the values that damo writes.

    They are in percent, time or bytes, or in the kernel's units; ``usual`` is damo's name for the
    unit of a bare number. damo computes with the intervals as written: 50 % of 100 ms at 30 ms a
    sample is 1.67 samples, and it writes 1.
    """
    key, word = files.name, kind.words[0]
    unit = at.word(f"{key}_unit", usual, (usual, word))
    place = at(key)
    if unit != usual and (said := at.scalar(f"{key}_unit")) is not None:
        message = f"damo 3 does not look at `{key}_unit`, and the policy does"
        hint = f"to damo 3 a bare number is `{usual}`, and here it is `{unit}`"
        at.report.told(said.span, message, hint)
    nodes = {bound: place.scalar(bound) for bound in ("min", "max")}
    found = {bound: place.quantity(node, kind) for bound, node in nodes.items() if node is not None}
    units = {each.unit for each in found.values() if each and each.unit not in ("min", "max")}
    if word in units and len(units) > 1:
        message = f"the bounds of `{key}` have different units, which damo refuses"
        at.report.wrong(place.node.span, message, f"write both in `{word}`, or none")
    counted = word in units or unit == word
    for file, most in ((files.min, 0), (files.max, U64_MAX)):
        node, value = nodes[file.name], found.get(file.name)
        place.has(file.name)  # reported here, for its place
        if node is None:
            value = Quantity(most, Fraction(most), file.name)
        if value is None:
            yield file, "0"
            continue
        if not counted or value.unit not in ("", word, "min", "max"):
            value = _converted(value, kind, intervals)
        whole = int(value.value) if node is None else place.rounded(node, value.value, value.exact)
        yield file, str(min(whole, U64_MAX))


def _converted(value: Quantity, kind: Kind, intervals: _Intervals) -> Quantity:
    """Return a share or a time in samples or aggregations, in damo's steps."""
    if kind is _RATES:
        exact = value.exact * Fraction(intervals.samples) / 100
        return Quantity(value.value * intervals.samples / 100, exact)
    aggregation = intervals.aggregation or 1.0
    return Quantity(value.value / aggregation, value.exact / Fraction(aggregation))
