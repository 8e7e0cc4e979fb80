"""``schemes/``: what is done with the regions of an access pattern."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from damonpolicy.model.access_pattern import AccessPattern
from damonpolicy.model.dests import Destination
from damonpolicy.model.filters import Filter
from damonpolicy.model.quotas import Quota
from damonpolicy.model.scalars import Count, Duration, Flag, Model, Name, Node, SomeText, shape
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

    feature: SomeText | None = None
    """The feature that the kernel must have; `damonpolicy features` lists all."""
    not_: SomeText | None = Field(None, alias="not")
    """The feature that the kernel must lack."""


class Scheme(Model):
    """One DAMOS scheme."""

    name: Name
    """Known by this name in plans and reports."""
    when: When | None = None
    """Take this alternative only on a kernel that has, or has not, a feature."""
    optional: Flag = False
    """Leave it out on a kernel that cannot do it; the plan says so."""
    action: Action
    """What is done; `stat` only counts."""
    to: (
        Annotated[
            Annotated[Node, Tag("scalar")] | Annotated[tuple[Destination, ...], Tag("list")],
            Discriminator(shape),
        ]
        | None
    ) = None
    """Where `migrate_hot` and `migrate_cold` go: a node, or several with weights."""
    access_pattern: AccessPattern = AccessPattern()
    """Which regions: all of size, access rate and age must hold."""
    apply_every: Duration | None = None
    """How often it is applied; each aggregation by default."""
    quota: (
        Annotated[
            Annotated[Literal["unlimited"], Tag("scalar")] | Annotated[Quota, Tag("mapping")],
            Discriminator(shape),
        ]
        | None
    ) = None
    """How much it may do; one that moves memory needs a quota, or `unlimited`."""
    filters: tuple[Filter, ...] = ()
    """Which pages; the first that matches decides, no match means the opposite of the last."""
    filters_in: Literal["layers", "filters"] = "layers"
    """In the kernel's directories for core and page filters, or all in the older `filters/`."""
    young: Literal["first", "last"] = "first"
    """Whether `pageout` of physical memory spares young pages first, or last as the kernel does."""
    watermarks: Watermarks | None = None
    """When it is awake."""
    max_snapshots: Count | None = None
    """Stop after so many snapshots."""
    retune_age: Flag = False
    """Rewrite ages as intervals are tuned; `damonpolicy run` does it."""

    @property
    def limits(self) -> Quota:
        """The quota as a mapping: an empty one for ``unlimited`` and for none."""
        return self.quota if isinstance(self.quota, Quota) else Quota()
