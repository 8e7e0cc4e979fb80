"""A simple, deterministic model of schemes' work on regions.

Formulas are those of mm/damon/core.c of Linux 7.3: damon_feed_loop_next_input(),
kdamond_tune_intervals(), damos_set_effective_quota(), damos_core_filter_out(). Time passes in
steps: the current state counts for all the time since the last look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from damonpolicy.emulated.damon.regions import PAGE, Region, regions, samples_of
from damonpolicy.emulated.damon.table import look
from damonpolicy.emulated.world import World
from damonpolicy.kernel.damon.actions import Traits, traits
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.kernel.damon.view import Filter, ProbeFilter, Scheme

__all__ = ("Work", "filters", "hits", "next_input", "period", "tuned", "works")

_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1


class _Rule(NamedTuple):
    """A filter of a scheme or probe, read once.

    ``low`` and ``high`` are addresses or sizes; without an ``allow`` file (before 6.14) every
    filter rejects.
    """

    type: str
    matching: bool
    allow: bool
    low: int
    high: int
    memcg: str
    target: int = 0


def _rule(each: Filter | ProbeFilter) -> _Rule:
    kind = each.type.text
    shared = kind, each.matching.yes, each.allow.yes
    if isinstance(each, Filter) and kind in CORE:
        return _Rule(*shared, each.start.number, each.end.number, "", each.target.number)
    return _Rule(*shared, each.min.number, each.max.number, each.memcg.text)


_YOUNG = _Rule("young", True, False, 0, 0, "")
"""What the kernel adds to every scheme that pages out: it leaves alone what was just used."""


def _matches(rule: _Rule, region: Region, running: dict[str, Any]) -> bool:
    kind, area = rule.type, region.area
    if kind == "target":
        return region.target == rule.target
    if kind in CORE:
        low, high = rule.low // PAGE * PAGE, rule.high // PAGE * PAGE
        return low <= region.start and region.end <= high
    if area is None:
        return kind == "unmapped"
    if kind == "anon":
        return bool(area["anon"])
    if kind in ("young", "active"):
        return bool(area["rate"])
    if kind == "memcg":  # the cgroup that has its path now
        return bool(region.cgroup == running["cgroups"][rule.memcg])
    if kind == "hugepage_size":
        return rule.low <= (2 << 20 if area["huge"] else PAGE) <= rule.high
    return False


def _passes(
    rules: Iterable[_Rule], region: Region, running: dict[str, Any], *, default: bool
) -> bool:
    """Return whether memory passes: the first match decides."""
    for each in rules:
        if _matches(each, region, running) == each.matching:
            return each.allow
    return default


def _default(rules: list[_Rule]) -> bool:
    return not rules or not rules[-1].allow


def filters(scheme: Scheme) -> list[Filter]:
    """Return all filters of a scheme, in the kernel's order."""
    layers = (scheme.core_filters, scheme.ops_filters, scheme.filters)
    return [each for layer in layers for each in layer]


def period(scheme: Scheme, aggregation: int) -> float:
    """Return the seconds between two applications of a scheme."""
    return max(scheme.apply_every.number or aggregation, 1) / 1e6


class Work:
    """A scheme of a running kdamond, with its state, and what it does to regions."""

    def __init__(
        self, world: World, running: dict[str, Any], scheme: Scheme, state: dict[str, Any]
    ) -> None:
        self.world = world
        self.running = running
        self.scheme = scheme
        self.state = state

    @property
    def period(self) -> float:
        """The seconds between two applications."""
        return period(self.scheme, int(self.running["aggr"]))

    @cached_property
    def _action(self) -> str:
        return self.scheme.action.text

    @cached_property
    def _traits(self) -> Traits:
        return traits(self.running["ops"], self._action)

    @cached_property
    def _filters(self) -> tuple[list[_Rule], list[_Rule]]:
        """Those of the core and those of pages.

        Their type alone decides, not their directory (damos_add_filter()).
        """
        rules = list(map(_rule, filters(self.scheme)))
        core = [each for each in rules if each.type in CORE]
        return core, [each for each in rules if each.type not in CORE]

    @cached_property
    def _nodes(self) -> list[int]:
        """The nodes to migrate to; paddr knows only one."""
        dests = list(self.scheme.dests)
        if self.running["ops"] == "paddr" or not dests:
            return [self.scheme.to.number]
        return [each.node.number for each in dests if each.weight.number]

    def tried(self) -> list[Region]:
        """Return the regions that the access pattern and core filters select."""
        wanted = self.scheme.access_pattern
        # counts and ages are `unsigned int` in the kernel, and truncated
        ranges = ((wanted.size, _U64), (wanted.access_rate, _U32), (wanted.age, _U32))
        bounds = [(each.min.number & most, each.max.number & most) for each, most in ranges]
        core, ops = self._filters
        default = True if ops else _default(core)
        return [
            piece
            for region in regions(self.world, self.running)
            if all(
                low <= value <= high
                for (low, high), value in zip(
                    bounds, (region.size, region.accesses, region.age), strict=True
                )
            )
            for piece in _split(region, core)
            if _passes(core, piece, self.running, default=default)
        ]

    def passed(self, region: Region) -> int:
        """Return the part of a region that passes page-level filters, as statistics count it."""
        (core, ops), profile, known = self._filters, self.world.profile, self._traits
        if self.running["ops"] != "paddr":
            honoured = known.filters and profile.has(known.filters_need or known.needs)
            if not honoured:
                return 0
        if region.area is None or (self._action == "stat" and not ops):
            return 0
        if profile.quirk("filters.not") and not all(each.matching for each in core):
            return 0
        if _passes(core, region, self.running, default=False):
            return region.memory  # finally allowed (damos->core_filters_allowed)
        young = self._action == "pageout" and not any(each.type == "young" for each in ops)
        rules = [*ops, _YOUNG] if young else ops
        found = _passes(rules, region, self.running, default=_default(ops))
        return region.memory if found else 0

    def applied(self, region: Region) -> int:
        """Return the part of a region that the action is applied to."""
        known, area = self._traits, region.area
        works = known.works and (not known.needs or self.world.profile.has(known.needs))
        if area is None or self._action == "stat" or not works:
            return 0
        moves = self._action.startswith("migrate")
        if moves:
            here, most = self.world.node_of(area["at"]), len(self.world.spec.nodes)
            if not any(0 <= node < most and node != here for node in self._nodes):
                return 0
        return self.passed(region) if moves or self.running["ops"] == "paddr" else region.memory


def works(world: World, running: dict[str, Any]) -> list[Work]:
    """Return what all schemes of a running kdamond do."""
    pairs = zip(look(running["tree"]).schemes, running["schemes"], strict=True)
    return [Work(world, running, scheme, state) for scheme, state in pairs]


def _split(region: Region, core: list[_Rule]) -> list[Region]:
    """Split a region at the ends of address filters."""
    borders = {region.start, region.end}
    for each in core:
        if each.type == "addr":
            ends = (end for end in (each.low, each.high) if region.start < end < region.end)
            borders |= {end // PAGE * PAGE for end in ends}
    marks = sorted(border for border in borders if region.start <= border <= region.end)
    if len(marks) == 1:
        return [region]
    return [replace(region, start=low, end=high) for low, high in pairwise(marks) if low < high]


def hits(world: World, running: dict[str, Any], found: Iterable[Region]) -> list[list[int]]:
    """Return for each region how many samples of an aggregation each probe hits, in 8 bits."""
    probes = [[_rule(each) for each in probe.filters] for probe in look(running["tree"]).probes]
    most, void = min(samples_of(running), 255), world.profile.quirk("probe.void")
    if running["ops"] != "paddr" and not world.profile.has("probe.preps"):
        most = 0
    return [
        [
            most
            if (void or region.area is not None)
            and _passes(rules, region, running, default=_default(rules))
            else 0
            for rules in probes
        ]
        for region in found
    ]


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
    goal, most = look(running["tree"]).intervals.auto_tune, int(running["samples"])
    found = regions(world, running)
    events = sum(region.size * region.accesses for region in found)
    wanted = sum(region.size for region in found) * most * goal.observe.number
    score = events * 10_000 // max(wanted // 10_000, 1)
    step = next_input(100_000_000, score) // 10_000
    if step == 10_000:
        return int(running["sample"]), int(running["aggr"])
    step = step if step > 10_000 else 5000 + step // 2
    sample = min(goal.max_sample.number, int(running["sample"]) * step // 10_000)
    sample = max(goal.min_sample.number, sample)
    return sample, sample * most
