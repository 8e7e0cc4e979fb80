"""Formulas of reports: access rate, temperature, idle time, working set, bandwidth.

They are those of damo's reports (version 3.4.3, inferred from its output), so that numbers of both
can be compared; but memory accessed in less than one percent of the samples is idle to damo, and in
use here. All take and return columns, one value per region.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from damonpolicy.observe.regions import Array, Regions, Series

__all__ = (
    "DEFAULT_WEIGHTS",
    "access_percent",
    "accesses_per_second",
    "age_us",
    "bandwidth",
    "idle_us",
    "observed_bp",
    "plain",
    "samples_of_rows",
    "spread",
    "temperature",
    "trend",
    "working_set",
    "working_sets",
)

Weights = tuple[int, int, int]
_LONGEST = 1 << 62
DEFAULT_WEIGHTS: Weights = (0, 100, 100)
"""The weights of size, access rate and age."""


def samples_of_rows(series: Series) -> Array:
    """Return the largest possible count of accesses of each row.

    It is at least 1 (mm/damon/core.c: damon_max_nr_accesses).
    """
    largest = np.maximum(series.aggregation // np.maximum(series.sample, 1), 1)
    rows: Array = largest[series.of_row]
    return rows


def access_percent(accesses: Array, samples: Array | int, *, as_damo: bool = False) -> Array:
    """Return the access rate in whole percent, truncated; ``samples`` is the largest count.

    Below one it is exact: 1 of 200 samples is 0.5. It is 0 for ``as_damo``, to which such memory
    is idle.
    """
    whole: Array = accesses.astype(np.int64) * 100 // samples
    if as_damo:
        return whole
    return np.where((whole == 0) & (accesses > 0), accesses * 100.0 / samples, whole)


def plain(percent: float) -> int | float:
    """Return an access rate as a plain number: whole, or, below one, to three digits."""
    return round(float(percent), 3) if 0 < percent < 1 else int(percent)


def accesses_per_second(accesses: Array, aggregation: Array | int) -> Array:
    """Return samples that found it accessed, for each second (damo's hz)."""
    return accesses * 1e6 / np.maximum(aggregation, 1)


def age_us(age: Array, aggregation: Array | int) -> Array:
    """Return ages of aggregations in microseconds, at most 2^62."""
    aggregations: Array = np.minimum(age.astype(np.int64), _LONGEST // np.maximum(aggregation, 1))
    return aggregations * aggregation


def idle_us(percent: Array, age: Array, aggregation: Array | int) -> Array:
    """Return the idle time in microseconds, 0 for memory in use.

    The current aggregation counts as well: a region of age 0 has been idle for one.
    """
    return np.where(percent > 0, 0, age_us(age, aggregation) + aggregation)


def temperature(
    size: Array, percent: Array, age: Array, aggregation: Array | int, weights: Weights
) -> Array:
    """Return the temperature: a weighted sum, negative for idle memory.

    Of bytes, whole percents and microseconds: so with equal weights, age decides.
    """
    for_size, for_rate, for_age = weights
    total = (
        for_size * size.astype(np.float64)
        + for_rate * percent.astype(np.float64)
        + for_age * age_us(age, aggregation).astype(np.float64)
    )
    return np.where(percent > 0, total, -total)


def working_set(regions: Regions, least: int = 1) -> int:
    """Return the bytes of regions with at least the given number of accessed samples."""
    return int(regions.size[regions.accesses >= least].sum())


def working_sets(series: Series, least: int = 1) -> Array:
    """Return the working set in bytes of each snapshot."""
    rows = series.regions.accesses >= least
    sizes = np.zeros(len(series), dtype=np.uint64)
    np.add.at(sizes, series.of_row[rows], series.regions.size[rows])
    return sizes


def spread(sizes: Array, percents: Sequence[float], *, by_time: bool = False) -> list[int]:
    """Return the percentiles of sizes; 0 is the least, 100 the most.

    Or ``by_time`` the sizes when so many percent of the snapshots had passed.
    """
    if not len(sizes):
        return []
    ordered = sizes if by_time else np.sort(sizes)
    return [
        int(ordered[min(int(len(ordered) * each / 100), len(ordered) - 1)]) for each in percents
    ]


def observed_bp(regions: Regions, samples: int) -> int:
    """Return the observed share of all possible accesses, in basis points.

    By bytes, as the kernel tunes intervals (mm/damon/core.c: damon_get_intervals_score()).
    """
    most = float(regions.total) * samples
    seen = float((regions.size.astype(np.float64) * regions.accesses).sum())
    return round(seen * 10_000 / most) if most else 0


def trend(sizes: Array) -> tuple[int, int] | None:
    """Return the means of the first and of the last quarter of sizes, None of fewer than four."""
    quarter = len(sizes) // 4
    return (int(sizes[:quarter].mean()), int(sizes[-quarter:].mean())) if quarter else None


def bandwidth(regions: Regions, aggregation: int) -> float:
    """Estimate bytes a second: each sample that found a region accessed counts all of it.

    Only good for ranking: a sample shows whether memory was accessed, not how often.
    """
    moved = float((regions.size.astype(np.float64) * regions.accesses).sum())
    return moved * 1e6 / max(aggregation, 1)
