"""The kernel's truncation of the bounds of an access pattern."""

from __future__ import annotations

from damonpolicy.base.units import U32_MAX

__all__ = ("bounds_no_age", "bounds_no_rate", "cut")

_YEAR = 365 * 24 * 3600 * 1_000_000


def cut(value: int) -> int:
    """Return the last 32 bits of a count of samples or aggregations, which the kernel keeps.

    Source: include/linux/damon.h: struct damos_access_pattern has unsigned ints, the files
    below ``access_pattern/`` unsigned longs (mm/damon/sysfs-schemes.c).
    """
    return value & U32_MAX


def bounds_no_rate(value: int, samples: int) -> bool:
    """Return whether a truncated upper bound still does not bind: no rate reaches it."""
    return cut(value) >= samples


def bounds_no_age(value: int, aggregating: int) -> bool:
    """Return whether a truncated upper bound still does not bind, for about a year."""
    return cut(value) == U32_MAX or cut(value) * aggregating >= _YEAR
