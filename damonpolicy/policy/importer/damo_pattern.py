"""Access patterns of damo's files: bounds in percent, time or bytes, or in kernel units.

A bare rate is percent and a bare age microseconds. damo computes with the intervals as written: 50
% of 100 ms at 30 ms a sample is 1.67 samples, and it writes 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U64_MAX
from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.view import Pattern, Range
from damonpolicy.policy.importer.damo_values import MICRO, PERCENT, Kind, Place, Quantity

__all__ = ("Intervals", "bounds")


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals in microseconds as damo computes them, before it truncates."""

    sample: float
    aggregation: float

    @property
    def samples(self) -> float:
        """Samples in an aggregation."""
        return self.aggregation / self.sample if self.sample else 1.0


_RATES = replace(PERCENT, words=("samples",))
_AGES = replace(MICRO, words=("aggr_intervals",))


def bounds(at: Place, intervals: Intervals, pattern: Pattern) -> Iterator[tuple[File, str]]:
    """Yield the files of access rates and ages with the values that damo writes."""
    yield from _counted(at, _RATES, "percent", intervals, pattern.access_rate)
    yield from _counted(at, _AGES, "usec", intervals, pattern.age)


def _counted(
    at: Place, kind: Kind, usual: str, intervals: Intervals, files: Range
) -> Iterator[tuple[File, str]]:
    """Yield two bounds; ``usual`` is damo's name for the unit of a bare number."""
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


def _converted(value: Quantity, kind: Kind, intervals: Intervals) -> Quantity:
    """Return a share or a time in samples or aggregations, in damo's steps."""
    if kind is _RATES:
        exact = value.exact * Fraction(intervals.samples) / 100
        return Quantity(value.value * intervals.samples / 100, exact)
    aggregation = intervals.aggregation or 1.0
    return Quantity(value.value / aggregation, value.exact / Fraction(aggregation))
