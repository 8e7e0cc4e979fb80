"""``schemes/``: what is done with the regions of an access pattern."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from damonpolicy.model.access_pattern import AccessPattern
from damonpolicy.model.dests import Destination
from damonpolicy.model.filters import Filter
from damonpolicy.model.quotas import Quota
from damonpolicy.model.scalars import Count, Duration, Flag, Model, Name, Node, Text, shape
from damonpolicy.model.watermarks import Watermarks

__all__ = ("Action", "Scheme", "When")

Action: TypeAlias = Literal[
    "stat",
    "pageout",
    "willneed",
    "cold",
    "hugepage",
    "nohugepage",
    "collapse",
    "lru_prio",
    "lru_deprio",
    "migrate_hot",
    "migrate_cold",
]


class When(Model):
    """Take an alternative only on a kernel that has, or has not, a feature."""

    feature: Text | None = None
    not_: Text | None = Field(None, alias="not")


class Scheme(Model):
    """One DAMOS scheme."""

    name: Name
    when: When | None = None
    optional: Flag = False
    action: Action
    to: (
        Annotated[
            Annotated[Node, Tag("scalar")] | Annotated[tuple[Destination, ...], Tag("list")],
            Discriminator(shape),
        ]
        | None
    ) = None
    access_pattern: AccessPattern = AccessPattern()
    apply_every: Duration | None = None
    quota: (
        Annotated[
            Annotated[Literal["unlimited"], Tag("scalar")] | Annotated[Quota, Tag("mapping")],
            Discriminator(shape),
        ]
        | None
    ) = None
    filters: tuple[Filter, ...] = ()
    watermarks: Watermarks | None = None
    max_snapshots: Count | None = None
    retune_age: Flag = False

    @property
    def limits(self) -> Quota:
        """The quota as a mapping: an empty one for ``unlimited`` and for none."""
        return self.quota if isinstance(self.quota, Quota) else Quota()
