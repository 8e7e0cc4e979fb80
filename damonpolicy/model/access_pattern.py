"""``access_pattern/``: which regions a scheme is for."""

from __future__ import annotations

from damonpolicy.model.scalars import AgeText, Bytes, Model, RateText
from damonpolicy.units import U32_MAX

__all__ = ("AccessPattern", "Ages", "Rates", "Sizes", "bounds_no_age", "bounds_no_rate", "cut")


_YEAR = 365 * 24 * 3600 * 1_000_000


def cut(value: int) -> int:
    """Return what the kernel makes of a count of samples or aggregations: its last 32 bits.

    Source: include/linux/damon.h: struct damos_access_pattern has unsigned ints, the files
    below ``access_pattern/`` unsigned longs (mm/damon/sysfs-schemes.c).
    """
    return value & U32_MAX


def bounds_no_rate(value: int, samples: int) -> bool:
    """Tell whether an upper bound that is cut binds as little as before: no rate reaches it."""
    return cut(value) >= samples


def bounds_no_age(value: int, aggregating: int) -> bool:
    """Tell whether an upper bound that is cut binds as little as before: for a year, say."""
    return cut(value) == U32_MAX or cut(value) * aggregating >= _YEAR


class Sizes(Model):
    """Sizes of regions; an omitted bound does not bind."""

    min: Bytes | None = None
    """The smallest."""
    max: Bytes | None = None
    """The largest."""


class Rates(Model):
    """Share of samples in which a region was accessed."""

    min: RateText | None = None
    """At least this share of samples found it accessed, rounded up; or such as `5 samples`."""
    max: RateText | None = None
    """At most this share of samples found it accessed, rounded down; or such as `5 samples`."""


class Ages(Model):
    """How long the access pattern has stayed as it is."""

    min: AgeText | None = None
    """At least for so long: a time, or such as `20 aggregations`."""
    max: AgeText | None = None
    """At most for so long."""


class AccessPattern(Model):
    """All three must hold."""

    size: Sizes = Sizes()
    """How large the region is."""
    access_rate: Rates = Rates()
    """How often it is accessed."""
    age: Ages = Ages()
    """For how long its size and access rate have stayed."""
