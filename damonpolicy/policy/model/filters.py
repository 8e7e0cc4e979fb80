"""``filters/``, ``core_filters/`` and ``ops_filters/`` of schemes and probes."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from damonpolicy.kernel.system.cgroups import in_unit
from damonpolicy.policy.model.scalars import Bytes, Count, Flag, Model, ScalarOr
from damonpolicy.policy.model.targets import AddressRange, Cgroups, UnitName

__all__ = ("IDLE", "Filter", "Match", "Memcg", "What")

Page: TypeAlias = Literal["anon", "active", "young", "unmapped", "pgidle_unset", "pgidle_set"]

IDLE = ("pgidle_unset", "pgidle_set")
"""Filter types of probes only (mm/damon/core.c: their filters are not those of schemes)."""


class Memcg(Model):
    """A cgroup with all below it; ``subtree: false`` means that one cgroup only."""

    path: Cgroups | None = None
    """From the root of the cgroup tree: `/machine.slice`, or `/system.slice/docker-*.scope`."""
    unit: UnitName | None = None
    """Instead of a path: a systemd unit, such as `postgresql.service`, in whatever slice."""
    subtree: Flag = True
    """Whether the cgroups below it count too."""

    @property
    def where(self) -> str:
        """The path, or the pattern of the unit's path; empty if neither is given."""
        return self.path or (in_unit(self.unit) if self.unit else "")


class SizeRange(Model):
    """Sizes in bytes, both bounds included."""

    min: Bytes
    """The smallest that matches."""
    max: Bytes
    """The largest that matches."""


class HitsRange(Model):
    """Weighted sums of a region's probe hits, both bounds included."""

    min: Count = 0
    """The smallest that matches."""
    max: Count
    """The largest that matches."""


class Match(Model):
    """The condition of a filter, if it takes more than a word."""

    not_: What | None = Field(None, alias="not")
    """Everything that does not match this."""
    memcg: ScalarOr[Cgroups, Memcg] | None = None
    """Pages of a cgroup and all below it; `*` matches within a name, as in a shell."""
    addr: AddressRange | None = None
    """Addresses; decided before single pages."""
    target: Count | None = None
    """The target by its number; decided before single pages."""
    hugepage_size: SizeRange | None = None
    """Pages of these sizes."""
    probe_hits_wsum: HitsRange | None = None
    """Regions by the weighted sum of their probes' hits; decided before single pages are."""

    @property
    def given(self) -> list[str]:
        """The given keys, without ``not``."""
        keys = ("memcg", "addr", "target", "hugepage_size", "probe_hits_wsum")
        return [key for key in keys if getattr(self, key) is not None]


What: TypeAlias = ScalarOr[Page, Match]


class Filter(Model):
    """One filter: ``allow`` or ``reject`` with a condition; the first match decides."""

    allow: What | None = None
    """Take matching memory."""
    reject: What | None = None
    """Spare matching memory."""

    @property
    def verb(self) -> str:
        """``allow`` or ``reject``."""
        return "allow" if self.allow is not None else "reject"

    @property
    def what(self) -> Page | Match | None:
        """The condition, including its ``not``."""
        return self.allow if self.allow is not None else self.reject

    @property
    def negated(self) -> bool:
        """Whether the filter matches the opposite of its condition."""
        return isinstance(self.what, Match) and self.what.not_ is not None

    @property
    def inner(self) -> Page | Match | None:
        """The condition without its ``not``."""
        what = self.what
        return what.not_ if isinstance(what, Match) and what.not_ is not None else what

    @property
    def whole(self) -> bool:
        """Whether it names a cgroup with all below it."""
        memcg = self.inner.memcg if isinstance(self.inner, Match) else None
        return memcg is not None and (not isinstance(memcg, Memcg) or memcg.subtree)

    @property
    def given(self) -> bool:
        """Whether it has a condition; raises Unread if any part could not be read."""
        inner = self.inner
        if isinstance(inner, Match):
            for part in (getattr(inner, key) for key in inner.given):
                if isinstance(part, Model):
                    for name in type(part).model_fields:
                        getattr(part, name)
        return bool(self.type)

    @property
    def type(self) -> str:
        """The kernel's word for the filter; empty if the policy is wrong."""
        inner = self.inner
        if isinstance(inner, Match):
            return inner.given[0] if inner.given else ""
        return inner or ""


Match.model_rebuild()
