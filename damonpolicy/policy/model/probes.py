"""``monitoring_attrs/probes/``: attributes of the sampled data."""

from __future__ import annotations

from typing import Literal

from damonpolicy.policy.model.filters import IDLE, Filter
from damonpolicy.policy.model.scalars import Count, Flag, Model, Name

__all__ = ("MOST_PROBES", "PROBED", "Probe")

MOST_PROBES = 4
"""DAMON_MAX_PROBES, include/linux/damon.h."""

PROBED = ("anon", "memcg", "hugepage_size", *IDLE)
"""The filter types of probes."""


class Probe(Model):
    """Count samples whose page passes the filters; a weight makes that the access count."""

    name: Name
    """The name in reports."""
    filters: tuple[Filter, ...] = ()
    """The pages to count; the first match decides."""
    preps: tuple[Literal["set_pgidle"], ...] = ()
    """What to do to a page before it is sampled."""
    weight: Count = 0
    """With a weight, the probe's count replaces the access count."""
    optional: Flag = False
    """Leave it out on a kernel that lacks it; the plan says so."""
