"""``monitoring_attrs/probes/``: attributes of the sampled data."""

from __future__ import annotations

from typing import Literal

from damonpolicy.model.filters import Filter
from damonpolicy.model.scalars import Count, Flag, Model, Name

__all__ = ("MOST_PROBES", "Probe")

MOST_PROBES = 4
"""DAMON_MAX_PROBES, include/linux/damon.h."""


class Probe(Model):
    """Count samples whose page passes the filters; a weight makes that the access count."""

    name: Name
    filters: tuple[Filter, ...] = ()
    preps: tuple[Literal["set_pgidle"], ...] = ()
    weight: Count = 0
    optional: Flag = False
