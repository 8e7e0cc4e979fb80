"""What the kernel makes of the bounds of an access pattern."""

from __future__ import annotations

from damonpolicy.units import U32_MAX

__all__ = ("bounds_no_age", "bounds_no_rate", "cut")

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
