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
from damonpolicy.kernel.damon.view import File, Pattern, Range
from damonpolicy.policy.importer.damo_values import MICRO, PERCENT, Kind, Place, Quantity
from damonpolicy.policy.source.nodes import Scalar

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


@dataclass(frozen=True, slots=True)
class _Counted:
    """A bound counted in samples or aggregations."""

    key: str
    kind: Kind
    unit: str
    """damo's name for the unit of a bare number."""
    word: str
    """The unit in which the kernel counts."""


_COUNTED = (
    _Counted("nr_accesses", PERCENT, "percent", "samples"),
    _Counted("age", MICRO, "usec", "aggr_intervals"),
)


def bounds(at: Place, intervals: Intervals, pattern: Pattern) -> Iterator[tuple[File, str]]:
    """Yield the files of access rates and ages with the values that damo writes."""
    for what, files in zip(_COUNTED, (pattern.access_rate, pattern.age), strict=True):
        yield from _counted(at, what, intervals, files)


def _counted(
    at: Place, what: _Counted, intervals: Intervals, files: Range
) -> Iterator[tuple[File, str]]:
    unit = at.word(f"{what.key}_unit", what.unit, (what.unit, what.word))
    place = at(what.key)
    if unit != what.unit:
        said = at.scalar(f"{what.key}_unit")
        if said is not None:
            message = f"damo 3 does not look at `{what.key}_unit`, and the policy does"
            hint = f"to damo 3 a bare number is `{what.unit}`, and here it is `{unit}`"
            at.report.told(said.span, message, hint)
    kind = replace(what.kind, words=(what.word,))
    nodes = {bound: place.scalar(bound) for bound in ("min", "max")}
    found = {bound: place.quantity(node, kind) for bound, node in nodes.items() if node is not None}
    units = {each.unit for each in found.values() if each and each.unit not in ("min", "max")}
    if what.word in units and len(units) > 1:
        message = f"the bounds of `{what.key}` have different units, which damo refuses"
        at.report.wrong(place.node.span, message, f"write both in `{what.word}`, or none")
    counted = what.word in units or unit == what.word
    for bound, file, usual in (("min", files.min, 0), ("max", files.max, U64_MAX)):
        node, value = nodes[bound], found.get(bound)
        place.has(bound)  # reported here, for its place
        if node is None:
            value = Quantity(usual, Fraction(usual), bound)
        if value is None:
            yield file, "0"
            continue
        raw = counted and value.unit in ("", what.word, "min", "max")
        made = value if raw else _converted(value, what, intervals)
        yield file, str(_written(place, node, made))


def _converted(value: Quantity, what: _Counted, intervals: Intervals) -> Quantity:
    """Return a share or a time in samples or aggregations, in damo's steps."""
    if what.kind is PERCENT:
        exact = value.exact * Fraction(intervals.samples) / 100
        return Quantity(value.value * intervals.samples / 100, exact)
    aggregation = intervals.aggregation or 1.0
    return Quantity(value.value / aggregation, value.exact / Fraction(aggregation))


def _written(place: Place, node: Scalar | None, value: Quantity) -> int:
    if node is None:
        return min(int(value.value), U64_MAX)
    return min(place.rounded(node, value.value, value.exact), U64_MAX)
