"""``schemes/``: actions on the regions of an access pattern; ``dests/``, ``watermarks/``."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from damonpolicy.policy.model.access_pattern import AccessPattern
from damonpolicy.policy.model.filters import Filter
from damonpolicy.policy.model.quotas import Quota
from damonpolicy.policy.model.scalars import (
    Count,
    Duration,
    Flag,
    Model,
    Name,
    Node,
    Percent,
    ScalarOr,
    ScalarOrList,
    SomeText,
)

__all__ = ("Action", "Destination", "Scheme", "Watermarks", "When")

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
    """Use an alternative only on a kernel that has, or lacks, a feature."""

    feature: SomeText | None = None
    """The feature that the kernel must have; `damonpolicy features` lists all."""
    not_: SomeText | None = Field(None, alias="not")
    """The feature that the kernel must lack."""


class Destination(Model):
    """A node, and its share among all destinations."""

    node: Node
    """A NUMA node with memory."""
    weight: Count = 1
    """Its share among all."""


class Watermarks(Model):
    """Asleep above ``high`` and below ``low``; awake once the metric falls below ``mid``."""

    metric: Literal["none", "free_mem_rate"]
    """`free_mem_rate`, the share of free memory; with `none` it is always awake."""
    every: Duration
    """How often to check the metric."""
    high: Percent
    """Asleep above it."""
    mid: Percent
    """Awake at or below it."""
    low: Percent
    """Asleep below it."""


class Scheme(Model):
    """One DAMOS scheme."""

    name: Name
    """The name in plans and reports."""
    when: When | None = None
    """Use this alternative only on a kernel that has, or lacks, a feature."""
    optional: Flag = False
    """Leave it out on a kernel that cannot do it; the plan says so."""
    action: Action
    """The action; `stat` only counts."""
    to: ScalarOrList[Node, Destination] | None = None
    """The destination of `migrate_hot` and `migrate_cold`: a node, or several with weights."""
    access_pattern: AccessPattern = AccessPattern()
    """The regions to select: size, access rate and age must all match."""
    apply_every: Duration | None = None
    """How often to apply the scheme; each aggregation by default."""
    quota: ScalarOr[Literal["unlimited"], Quota] | None = None
    """The limit of the action; a scheme that moves memory needs a quota, or `unlimited`."""
    filters: tuple[Filter, ...] = ()
    """The pages to take; the first match decides, no match means the opposite of the last."""
    filters_in: Literal["layers", "filters"] = "layers"
    """In the kernel's directories for core and page filters, or all in the older `filters/`."""
    young: Literal["first", "last"] = "first"
    """Whether `pageout` of physical memory spares young pages first, or last as the kernel does."""
    watermarks: Watermarks | None = None
    """The shares of free memory between which it is awake."""
    max_snapshots: Count | None = None
    """The number of snapshots after which to stop."""
    retune_age: Flag = False
    """Rewrite ages as intervals are tuned; `damonpolicy run` does it."""

    @property
    def limits(self) -> Quota:
        """The quota as a mapping, which is empty for ``unlimited`` and for none."""
        return self.quota if isinstance(self.quota, Quota) else Quota()
