"""Rules on probes, and on what a weight switches off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from damonpolicy.diagnostics import Diagnostic
from damonpolicy.model.filters import IDLE
from damonpolicy.model.kdamond import Kdamond
from damonpolicy.model.probes import MOST_PROBES, PROBED, Probe
from damonpolicy.model.read import Cursor
from damonpolicy.model.rules.filters import shape, sizes, subtrees
from damonpolicy.units import U32_MAX

__all__ = ("check",)

_MOST_SAMPLES = 255
"""Hits are counted in 8 bits (include/linux/damon.h: struct damon_region)."""


def check(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Yield what is wrong with a kdamond's probes; ``at`` is the kdamond's."""
    yield from _probes(kdamond.probes, at("probes"))
    weighted = [probe for probe in kdamond.probes if probe.weight]
    if weighted:
        yield from _overflow(weighted, kdamond.intervals.samples, at("probes"))
        yield from _unchecked(kdamond, at)


def _probes(probes: Sequence[Probe], at: Cursor) -> Iterator[Diagnostic]:
    if len(probes) > MOST_PROBES:
        message = f"the kernel takes at most {MOST_PROBES} probes"
        hint = "split them over two kdamonds"
        yield Diagnostic.error("DP0234", at(MOST_PROBES).value, message, hint=hint)
    names: set[str] = set()
    for index, probe in enumerate(probes):
        if probe.name in names:
            message = f"the probe `{probe.name}` stands twice"
            hint = "choose another name"
            yield Diagnostic.error("DP0223", at(index, "name").value, message, hint=hint)
        names.add(probe.name)
        yield from subtrees(probe.filters, at(index, "filters"))
        for number, each in enumerate(probe.filters):
            place = at(index, "filters", number)
            yield from shape(each, place)
            yield from sizes(each, place)
            if each.type and each.type not in PROBED:
                message = f"probes cannot look at `{each.type}`"
                hint = "they know " + ", ".join(f"`{word}`" for word in PROBED)
                yield Diagnostic.error("DP0213", place(each.verb).value, message, hint=hint)
        words = {each.type for each in probe.filters}
        if not words.isdisjoint(IDLE) and not probe.preps:
            message = "without a preparation every page counts as touched"
            hint = "add `preps: [set_pgidle]`"
            yield Diagnostic.warning("DP0234", at(index, "filters").value, message, hint=hint)


def _overflow(weighted: Sequence[Probe], samples: int, at: Cursor) -> Iterator[Diagnostic]:
    if samples > _MOST_SAMPLES:
        message = f"probes with weights take at most {_MOST_SAMPLES} samples an aggregation"
        hint = "make `aggregation` shorter, or `sample` longer"
        yield Diagnostic.error("DP0234", at.key, f"{message}, here are {samples}", hint=hint)
    elif sum(probe.weight for probe in weighted) * samples > U32_MAX:
        message = "the weights are so large that the kernel's count would overflow"
        hint = "only their ratios matter: make all of them smaller"
        yield Diagnostic.error("DP0234", at.key, message, hint=hint)


def _unchecked(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """A weight switches access checks off: all access rates then read 0."""
    why = "a probe with a weight takes the place of access checks"
    samples = kdamond.intervals.samples
    for index, scheme in enumerate(kdamond.schemes):
        rate = scheme.access_pattern.access_rate
        place = at("schemes", index, "access_pattern", "access_rate")
        for name, bound in (("min", rate.min), ("max", rate.max)):
            counts = bound is not None and (
                bound.most(samples) < samples if name == "max" else bound.value > 0
            )
            if counts:
                what = "everything" if name == "max" else "nothing"
                message = f"{why}, so access rates read 0 and this matches {what}"
                hint = "remove it, or the weight"
                yield Diagnostic.error("DP0234", place(name).value, message, hint=hint)
    if kdamond.intervals.auto_tune is not None:
        message = f"{why}, so there is nothing to tune intervals by"
        hint = "remove `auto_tune`, or the weight"
        yield Diagnostic.error("DP0234", at("intervals", "auto_tune").key, message, hint=hint)
