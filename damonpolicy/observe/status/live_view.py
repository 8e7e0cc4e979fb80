"""What a live view shows: lines of a kdamond and its schemes, rows of regions, a strip of heat.

Pure: what was read, and a view of what a person chose, give texts and rows. What draws them is
another's matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import (
    U64_MAX,
    UnitError,
    approximate_bytes,
    approximate_number,
    format_duration,
    read_integer,
)
from damonpolicy.kernel.system.memory import Range
from damonpolicy.observe.collect.merge import in_ranges, known_target
from damonpolicy.observe.collect.modules import ModuleStatus
from damonpolicy.observe.regions import (
    UNKNOWN,
    Array,
    Regions,
    Series,
    Source,
    series_of,
    stacked,
)
from damonpolicy.observe.reports.select import READERS, Columns, columns, in_order
from damonpolicy.observe.status.schemes import Limits, goal_words
from damonpolicy.plan.facts import Accesses, Target

__all__ = (
    "Condition",
    "Row",
    "Rows",
    "Scene",
    "Sort",
    "View",
    "heading",
    "old",
    "read_filter",
    "rows",
    "scheme_lines",
    "strip",
    "zoomed",
)

Sort = Literal["temperature", "size", "rate", "age", "address"]
SORTS: tuple[Sort, ...] = ("temperature", "size", "rate", "age", "address")
LEVELS = " .:-=+*#%@"
"""Characters of the strip for access rates from none to all; unseen parts are blank, too."""

_CONDITION = r"([a-z]+)(<=|>=|<|>|=)(.+)"
_COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
}
_NEAREST = 1 << 12
"""Zooming ends at a page."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A column, an operator, and an operand: bytes, percent, microseconds, or a name."""

    column: str
    operator: str
    value: float | str


@dataclass(frozen=True, slots=True)
class View:
    """The user's choices; addresses are ascending by default, all else descending."""

    sort: Sort = "temperature"
    reverse: bool = False
    conditions: tuple[Condition, ...] = ()
    zoom: Range | None = None

    def sorted_by(self, sort: Sort) -> View:
        """Return the view in another order; the same column again reverses it."""
        return replace(self, sort=sort, reverse=self.sort == sort and not self.reverse)


@dataclass(frozen=True, slots=True)
class Row:
    """A region for display; ``percent`` is its access rate, ``age`` is in microseconds."""

    start: int
    end: int
    percent: float
    age: int
    temperature: float
    target: int
    scheme: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Texts of the columns that `HEAD` names."""
        return (
            f"{self.start:#x}",
            approximate_bytes(self.end - self.start),
            "<1%" if 0 < self.percent < 1 else f"{self.percent:.0f}%",
            short(self.age),
            approximate_number(self.temperature),
            "-" if self.target == UNKNOWN else str(self.target),
            visible(self.scheme, kept="") or "-",
        )


HEAD = ("address", "size", "rate", "age", "temperature", "target", "scheme")


@dataclass(frozen=True, slots=True)
class Rows:
    """The first rows, and the number of regions and bytes with and without the filter."""

    shown: tuple[Row, ...]
    count: int
    bytes: int
    all_count: int
    all_bytes: int

    @property
    def text(self) -> str:
        """Return the counts in a line."""
        first = f"first {len(self.shown):,} of " if len(self.shown) < self.count else ""
        some = ""
        if self.count < self.all_count:
            some = f" (of {self.all_count:,}, {approximate_bytes(self.all_bytes)})"
        plural = "" if self.count == 1 else "s"
        return f"{first}{self.count:,} region{plural}, {approximate_bytes(self.bytes)}{some}"


def short(microseconds: int) -> str:
    """Write a duration for people, with at most two units."""
    for most, least in ((3_600_000_000, 60_000_000), (60_000_000, 1_000_000), (1_000_000, 1_000)):
        if microseconds >= most:
            return format_duration(microseconds // least * least)
    return format_duration(microseconds)


def read_filter(text: str) -> tuple[Condition, ...]:
    """Read conditions such as ``size>=2MiB rate<5% age>2m temperature>0 target=1 scheme=cold``.

    A word alone is a part of a scheme's name. Raises UnitError for anything else.
    """
    return tuple(_condition(word) for word in text.split())


def _condition(word: str) -> Condition:
    found = re.fullmatch(_CONDITION, word)
    if found is None:
        return Condition("scheme", "in", word)
    column, sign, text = found.groups()
    if column == "scheme" and sign == "=":
        return Condition(column, sign, text)
    if column not in HEAD or column == "scheme":
        hint = "columns are " + ", ".join(f"`{name}`" for name in HEAD)
        raise UnitError("DP0113", f"`{word[:40]}` compares nothing that is shown", hint)
    readers = {**READERS, "rate": READERS["access_rate"], "target": read_integer}
    return Condition(column, sign, float(readers[column](text)))


@dataclass(frozen=True, slots=True)
class _Columns:
    """The last snapshots, one value per region."""

    regions: Regions
    more: Columns
    scheme: Array

    def value(self, name: str) -> Array:
        return {
            "address": self.regions.start,
            "size": self.more.size,
            "rate": self.more.percent,
            "age": self.more.age,
            "temperature": self.more.temperature,
            "target": self.regions.target,
        }[name]


def _columns(series: Sequence[Series]) -> _Columns:
    last = [known_target(each).between(len(each) - 1, len(each)) for each in series if len(each)]
    last = last or [series_of(Source(""), ())]
    return _Columns(
        Regions.joined([each.regions for each in last]),
        stacked([columns(each) for each in last]),
        np.concatenate([np.full(len(each.regions), each.source.scheme, object) for each in last]),
    )


def _kept(seen: _Columns, view: View) -> Array:
    """Return the mask of regions that meet every condition and overlap the range."""
    regions = seen.regions
    kept: Array = np.ones(len(regions), dtype=bool)
    for each in view.conditions:
        if each.operator == "in":
            kept &= np.array([str(each.value) in name for name in seen.scheme], dtype=bool)
        elif each.column == "scheme":
            kept &= seen.scheme == each.value
        else:
            kept &= _COMPARE[each.operator](seen.value(each.column), each.value)
    if view.zoom is not None:
        low, high = view.zoom
        kept &= (regions.start < high) & (regions.end > low)
    return kept


def rows(series: Sequence[Series], view: View, most: int) -> Rows:
    """Return regions of the last snapshots, sorted, filtered and zoomed; ``most`` of them."""
    seen = _columns(series)
    regions, more = seen.regions, seen.more
    kept = np.flatnonzero(_kept(seen, view))
    descending = (view.sort != "address") != view.reverse
    order = in_order(seen.value(view.sort)[kept], descending=descending)
    shown = tuple(
        Row(
            int(regions.start[index]),
            int(regions.end[index]),
            float(more.percent[index]),
            int(more.age[index]),
            float(more.temperature[index]),
            int(regions.target[index]),
            str(seen.scheme[index]),
        )
        for index in kept[order][:most]
    )
    held = int(regions.size[kept].sum())
    return Rows(shown, len(kept), held, len(regions), regions.total)


def span(series: Sequence[Series]) -> Range | None:
    """Return the first and the last seen address; None if there is none."""
    regions = _columns(series).regions
    return (int(regions.start.min()), int(regions.end.max())) if len(regions) else None


def zoomed(view: View, whole: Range | None, middle: int, factor: float) -> View:
    """Return the view with a range ``factor`` times as long around an address.

    It stays within the whole; once it is as long, there is no range any more.
    """
    if whole is None:
        return view
    low, high = view.zoom or whole
    length = max(round((high - low) * factor), _NEAREST)
    if length >= whole[1] - whole[0]:
        return replace(view, zoom=None)
    start = min(max(middle - length // 2, whole[0]), whole[1] - length)
    return replace(view, zoom=(start, start + length))


def strip(series: Sequence[Series], view: View, width: int) -> str:
    """Draw access rates along the addresses, one character each for equally many bytes.

    A character is the mean of the regions there, weighted by their bytes.
    """
    whole = view.zoom or span(series)
    if whole is None or width < 1:
        return ""
    seen = _columns(series)
    kept = _kept(seen, view)
    regions, percent = seen.regions.take(kept), seen.more.percent[kept]
    start, end = regions.start.astype(np.int64), regions.end.astype(np.int64)
    edges = [whole[0] + (whole[1] - whole[0]) * number // width for number in range(width + 1)]
    drawn = []
    for low, high in pairwise(edges):
        held = in_ranges(start, end, [(low, high)])
        total = int(held.sum())
        mean = float((held * percent).sum()) / total if total else 0.0
        level = min(int(np.ceil(mean * (len(LEVELS) - 2) / 100)), len(LEVELS) - 2) + 1
        drawn.append(LEVELS[level] if total else LEVELS[0])
    return "".join(drawn)


@dataclass(frozen=True, slots=True)
class Scene:
    """The data of one moment: all kdamonds, and the regions of one of them.

    ``kdamonds`` are those of the document of ``status``; ``series`` belong to ``slot``. ``why`` is
    the reason why there are no newer ones.
    """

    kdamonds: Sequence[Mapping[str, Any]] = ()
    slot: int | None = None
    series: Sequence[Series] = field(default=(), repr=False)
    why: str = ""
    modules: Sequence[ModuleStatus] = ()
    """Modules of the kernel that run a kdamond, beside which no other runs."""

    @property
    def kdamond(self) -> Mapping[str, Any] | None:
        """The selected kdamond."""
        return next((each for each in self.kdamonds if each["slot"] == self.slot), None)


def old(scene: Scene, now: int) -> str:
    """Return the age of the regions' numbers; ``now`` is in nanoseconds since the epoch."""
    ends = [int(each.end[-1]) for each in scene.series if len(each)]
    if not ends:
        return "no regions"
    seconds = max(now - min(ends), 0) / 1e9
    if seconds < 0.5:
        return "fresh"
    return f"{seconds:.0f}s old" if seconds < 60 else f"{short(int(seconds) * 1_000_000)} old"


def heading(scene: Scene) -> str:
    """Return the heading of a kdamond."""
    each = scene.kdamond
    if each is None:
        names = ", ".join(each.name for each in scene.modules)
        of_kernel = f"no kdamond of a policy runs: {names} of the kernel does"
        return of_kernel if names else "no kdamond runs"
    place = [one["slot"] for one in scene.kdamonds].index(scene.slot) + 1
    parts = [f"{each['name'] or 'somebody else'}: {each['state']}"]
    parts += ["paused"] if each["paused"] else []
    parts += [f"slot {each['slot']}", each["ops"], f"accesses {Accesses(**each['accesses']).text}"]
    targets = [Target(**one).name for one in each["targets"]]
    if targets:
        parts.append(", ".join(targets[:2]) + (f" +{len(targets) - 2}" if targets[2:] else ""))
    return visible(f"[{place}/{len(scene.kdamonds)}] " + ", ".join(parts), kept="")


def scheme_lines(scene: Scene) -> list[str]:
    """Describe each scheme: its current selection, its work so far, its quota, and its goals."""
    lines = [f"{each.name}: {line}" for each in scene.modules for line in each.lines]
    for scheme in scene.kdamond["schemes"] if scene.kdamond else ():
        numbers = scheme["statistics"]
        parts = [f"{scheme['name']}: {scheme['action']}", *_now(scene, scheme["name"])]
        if numbers.get("sz_tried") is None:
            parts.append("not asked what it did so far")
        else:
            parts += [
                f"tried {approximate_bytes(numbers['sz_tried'])}",
                f"applied {approximate_bytes(numbers.get('sz_applied') or 0)} so far",
            ]
        if scheme["quota"]:
            exceeded = numbers.get("qt_exceeds")
            parts.append(
                f"quota {Limits(**scheme['quota']).text}"
                + (f" (exceeded {exceeded} times)" if exceeded else "")
            )
        effective = scheme["effective_quota"]
        if effective and effective < U64_MAX:
            parts.append(f"in effect {approximate_bytes(effective)}")
        lines.append(visible(", ".join(parts), kept=""))
        if scheme["watermarks"] and scheme["watermarks"]["asleep"] is not False:
            lines.append(f"  {scheme['watermarks']['why']}")
        for goal in scheme["goals"]:
            unfed = "" if goal["fed"] else " (not fed)"
            lines.append(visible(f"  {goal_words(goal)}{unfed}", kept=""))
    return lines


def _now(scene: Scene, scheme: str) -> list[str]:
    """Describe the current selection of a scheme, if its regions are known."""
    for each in scene.series:
        if each.source.scheme == scheme and each.source.origin == "regions" and len(each):
            regions = each.snapshot(-1)
            passed = "" if regions.passed is None else (
                f" ({approximate_bytes(int(regions.passed.sum()))} passed)"
            )  # fmt: skip
            return [f"now {approximate_bytes(regions.total)}{passed}"]
    return []
