"""Analysis of which filters of a list can still match, as the first match decides.

Each filter matches a part of one dimension, such as whether a page is anonymous, its cgroup, or its
address. Dimensions are independent: a filter can match something, unless earlier ones have decided
all of its part, or everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U32_MAX, U64_MAX
from damonpolicy.policy.model.filters import Filter, Match, Memcg
from damonpolicy.policy.rules.rule import readable

__all__ = ("Coverage", "coverage", "matches_nothing")

_Range = tuple[int, int]
"""Both ends included."""
_SIZES = (12, 63)
"""Pages are powers of two, 4 KiB the smallest: by their exponents."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of numbers of a dimension, as ranges in ascending order."""

    ranges: tuple[_Range, ...]

    @property
    def empty(self) -> bool:
        return not self.ranges

    def meets(self, other: Self) -> bool:
        return any(low <= top and bottom <= high for low, high in self.ranges
                   for bottom, top in other.ranges)  # fmt: skip

    def without(self, other: Self) -> Self:
        left = list(self.ranges)
        for bottom, top in other.ranges:
            cut = ((low, min(high, bottom - 1)) for low, high in left)
            rest = ((max(low, top + 1), high) for low, high in left)
            left = sorted(each for each in (*cut, *rest) if each[0] <= each[1])
        return type(self)(tuple(left))


@dataclass(frozen=True, slots=True)
class Group:
    """A cgroup, or with ``below`` all of its subtree."""

    path: str
    below: bool

    def holds(self, other: Group) -> bool:
        """Return whether this one contains all of another."""
        if self.path == other.path:
            return self.below or not other.below
        return self.below and f"{other.path}/".startswith(f"{self.path.rstrip('/')}/")


@dataclass(frozen=True, slots=True)
class Groups:
    """Pages by their cgroup: those ``inside`` one, or all if that is None, but ``apart``.

    Some pages have no cgroup, and future cgroups are unknown: so no list of cgroups is everything,
    and a cgroup with all below it never equals its children.
    """

    inside: Group | None = None
    apart: tuple[Group, ...] = ()
    nothing: bool = False

    @property
    def empty(self) -> bool:
        return self.nothing or (
            self.inside is not None and any(each.holds(self.inside) for each in self.apart)
        )

    def meets(self, other: Self) -> bool:
        return not self._and(other).empty

    def without(self, other: Self) -> Self:
        """Return the rest; ``other`` is the match of one filter: a cgroup, or all but one."""
        if other.inside is not None:
            return type(self)(self.inside, (*self.apart, other.inside), self.nothing)
        return self._and(type(self)(other.apart[0]))

    def _and(self, other: Self) -> Self:
        apart = (*self.apart, *other.apart)
        if self.inside is None or other.inside is None:
            return type(self)(self.inside or other.inside, apart, self.nothing or other.nothing)
        for inner, outer in ((self.inside, other.inside), (other.inside, self.inside)):
            if outer.holds(inner):
                return type(self)(inner, apart, self.nothing or other.nothing)
        return type(self)(None, (), nothing=True)


_Part = Numbers | Groups


@dataclass(frozen=True, slots=True)
class Coverage:
    """What earlier filters leave for a filter."""

    index: int
    covered: bool
    """Whether earlier filters have decided everything that it matches."""
    by: int | None
    """The one of them that does so alone."""
    mutual: bool
    """Whether that one matches exactly the same."""
    rest: bool
    """Whether anything is left undecided after it."""


def coverage(filters: Sequence[Filter], *, physical: bool) -> Iterator[Coverage]:
    """Yield what is left for each readable filter; ``physical`` memory is one target."""
    left: dict[str, _Part] = {}
    known: list[tuple[int, str, _Part]] = []
    exhausted = False
    for index, each in readable(filters, "given", "allow", "reject"):
        part = _part(each, physical=physical)
        if part is None:
            continue
        rest = left.setdefault(each.type, _whole(each.type, physical=physical))
        covered = not part.empty and (exhausted or not _meets(rest, part))
        first = next((one for one in known if covered and _covers(one, each.type, part)), None)
        left[each.type] = _without(rest, part)
        exhausted = exhausted or left[each.type].empty
        known.append((index, each.type, part))
        mutual = first is not None and _without(first[2], part).empty
        yield Coverage(index, covered, first and first[0], mutual, not exhausted)


def matches_nothing(each: Filter, *, physical: bool) -> bool:
    """Return whether a filter can match nothing."""
    part = _part(each, physical=physical)
    return part is not None and part.empty


def _covers(one: tuple[int, str, _Part], kind: str, part: _Part) -> bool:
    return one[1] == kind and _without(part, one[2]).empty


def _meets(one: _Part, other: _Part) -> bool:
    return one.meets(other)  # type: ignore[arg-type]  # both of one dimension


def _without(one: _Part, other: _Part) -> _Part:
    return one.without(other)  # type: ignore[arg-type]  # both of one dimension


def _whole(kind: str, *, physical: bool) -> _Part:
    if kind == "memcg":
        return Groups()
    ranges = {
        "addr": (0, U64_MAX),
        "target": (0, 0 if physical else U32_MAX),
        "hugepage_size": _SIZES,
        "probe_hits_wsum": (0, U32_MAX),
    }
    return Numbers((ranges.get(kind, (0, 1)),))


def _part(each: Filter, *, physical: bool) -> _Part | None:
    """Return the match of a filter; None if its form is wrong, which another rule reports."""
    inner = each.inner
    if (each.allow is None) == (each.reject is None):
        return None
    if isinstance(inner, Match):
        if len(inner.given) != 1 or inner.not_ is not None:
            return None
        if inner.target and physical:
            return None
        if inner.memcg is not None:
            where = inner.memcg.where if isinstance(inner.memcg, Memcg) else inner.memcg
            group = Group(where, each.whole)
            return Groups(None, (group,)) if each.negated else Groups(group)
    whole = _whole(each.type, physical=physical)
    wanted = _numbers(inner)
    if wanted is None or not isinstance(whole, Numbers):
        return None
    inverse = whole.without(Numbers((wanted,) if wanted[0] <= wanted[1] else ()))
    return inverse if each.negated else whole.without(inverse)


def _numbers(inner: Match | str | None) -> _Range | None:
    if not isinstance(inner, Match):
        return (1, 1)
    if inner.addr is not None:
        right = inner.addr.start < inner.addr.end
        return (inner.addr.start, inner.addr.end - 1) if right else None
    if inner.target is not None:
        return (inner.target, inner.target)
    if inner.hugepage_size is not None:
        sizes = inner.hugepage_size
        if sizes.min > sizes.max:
            return None
        return ((max(sizes.min, 1) - 1).bit_length(), sizes.max.bit_length() - 1)
    hits = inner.probe_hits_wsum
    return (hits.min, hits.max) if hits is not None and hits.min <= hits.max else None
