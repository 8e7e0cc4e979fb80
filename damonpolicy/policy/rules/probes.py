"""Rules on probes, and on features that a weight disables."""

from __future__ import annotations

from collections.abc import Sequence

from damonpolicy.base.units import U32_MAX
from damonpolicy.policy.model.access_pattern import Rates
from damonpolicy.policy.model.filters import IDLE
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.probes import MOST_PROBES, PROBED, Probe
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.filter_lists import check_coverage
from damonpolicy.policy.rules.filters import shape, sizes, subtrees
from damonpolicy.policy.rules.rule import Findings, readable, rule

__all__ = ("check",)

_WHY = "a probe with a weight takes the place of access checks"
_MOST_SAMPLES = 255
"""Hits are counted in 8 bits (include/linux/damon.h: struct damon_region)."""


@rule
def check(kdamond: Kdamond, at: Cursor) -> Findings:
    """Yield the errors in a kdamond's probes; ``at`` is the kdamond's."""
    yield from _probes(kdamond.probes, at("probes"), physical=kdamond.known("ops") == "paddr")
    if any(probe.weight for _, probe in readable(kdamond.probes, "weight")):
        yield from _overflow(kdamond, at("probes"))
        yield from _unchecked(kdamond, at)


@rule
def _probes(probes: Sequence[Probe], at: Cursor, *, physical: bool) -> Findings:
    if len(probes) > MOST_PROBES:
        message = f"the kernel takes at most {MOST_PROBES} probes"
        yield at(MOST_PROBES).value.error("DP0234", message, "split them over two kdamonds")
    names: set[str] = set()
    for index, probe in enumerate(probes):
        place, name, preps = at(index), probe.known("name"), probe.known("preps", ())
        if name in names:
            message = f"the probe `{name}` appears twice"
            yield place("name").value.error("DP0223", message, "choose another name")
        names |= {name} if name is not None else set()
        if len(set(preps)) < len(preps):
            message = "a page needs to be prepared only once"
            yield place("preps").value.error("DP0223", message, "name it once")
        yield from _filters(probe, place("filters"), physical=physical)


@rule
def _filters(probe: Probe, at: Cursor, *, physical: bool) -> Findings:
    yield from subtrees(probe.filters, at)
    yield from check_coverage(probe.filters, at, physical=physical, what="the probe")
    for number, each in enumerate(probe.filters):
        yield from shape(each, at(number))
        yield from sizes(each, at(number))
    for number, each in readable(probe.filters, "type", "verb"):
        if each.type and each.type not in PROBED:
            message = f"probes cannot look at `{each.type}`"
            hint = "they know " + ", ".join(f"`{word}`" for word in PROBED)
            yield at(number, each.verb).value.error("DP0213", message, hint)
    words = {each.type for _, each in readable(probe.filters, "type")}
    if not words.isdisjoint(IDLE) and not probe.preps:
        message = "without a preparation every page counts as touched"
        yield at.value.warning("DP0234", message, "add `preps: [set_pgidle]`")


@rule
def _overflow(kdamond: Kdamond, at: Cursor) -> Findings:
    samples = kdamond.intervals.samples
    if samples > _MOST_SAMPLES:
        message = f"probes with weights take at most {_MOST_SAMPLES} samples an aggregation"
        hint = "make `aggregation` shorter, or `sample` longer"
        yield at.key.error("DP0234", f"{message}, here are {samples}", hint)
    elif sum(probe.weight for probe in kdamond.probes) * samples > U32_MAX:
        message = "the weights are so large that the kernel's count would overflow"
        yield at.key.error("DP0234", message, "only their ratios matter: make all of them smaller")


@rule
def _unchecked(kdamond: Kdamond, at: Cursor) -> Findings:
    """Check for what needs access checks, which a weight disables: all rates read 0."""
    if kdamond.intervals.known("auto_tune") is not None:
        message = f"{_WHY}, so there is nothing to tune intervals by"
        hint = "remove `auto_tune`, or the weight"
        yield at("intervals", "auto_tune").key.error("DP0234", message, hint)
    samples = kdamond.intervals.samples
    for index, scheme in readable(kdamond.schemes, "access_pattern"):
        rate = scheme.access_pattern.known("access_rate", Rates())
        place = at("schemes", index, "access_pattern", "access_rate")
        low, high = rate.known("min"), rate.known("max")
        for name, binds, what in (
            ("min", low is not None and low.value > 0, "nothing"),
            ("max", high is not None and high.most(samples) < samples, "everything"),
        ):
            if binds:
                message = f"{_WHY}, so access rates read 0 and this matches {what}"
                yield place(name).value.error("DP0234", message, "remove it, or the weight")
