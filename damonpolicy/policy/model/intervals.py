"""``monitoring_attrs/intervals/`` and ``monitoring_attrs/nr_regions/``."""

from __future__ import annotations

from damonpolicy.policy.model.scalars import Count, Duration, Model, Percent

__all__ = ("AutoTune", "Intervals", "RegionCount")

SAMPLE = 5_000
AGGREGATION = 100_000
UPDATE = 60_000_000
"""The kernel's own defaults in microseconds (mm/damon/sysfs.c: damon_sysfs_attrs_add_dirs())."""


class AutoTune(Model):
    """Have the kernel stretch the intervals until a share of all accesses is observed."""

    observe: Percent
    """The share of all accesses to observe."""
    aggregations: Count
    """The number of aggregations between two tunings."""
    min_sample: Duration
    """The shortest sampling interval to tune to."""
    max_sample: Duration
    """The longest sampling interval to tune to."""


class Intervals(Model):
    """How often to sample, to add samples up, and to read the layout of memory.

    With ``auto_tune``, sample and aggregation are start values; their ratio stays.
    """

    sample: Duration | None = None
    """How often to check whether a page was accessed; 5ms by default."""
    aggregation: Duration | None = None
    """How long to add samples up before schemes see them; 20 samples by default."""
    update: Duration = UPDATE
    """How often to read the layout of memory again."""
    auto_tune: AutoTune | None = None
    """Have the kernel tune both, starting from `sample` and `aggregation`."""

    @property
    def sampling(self) -> int:
        """The (first) sampling interval in microseconds."""
        if self.sample is not None:
            return self.sample
        if self.auto_tune:
            return min(max(SAMPLE, self.auto_tune.min_sample), self.auto_tune.max_sample)
        return SAMPLE

    @property
    def aggregating(self) -> int:
        """The (first) aggregation interval in microseconds; the default keeps 20 samples."""
        if self.aggregation is not None:
            return self.aggregation
        if self.auto_tune or self.sample is not None:
            return max(self.sampling * (AGGREGATION // SAMPLE), 1)
        return AGGREGATION

    @property
    def samples(self) -> int:
        """Samples in an aggregation: the kernel's count for an access rate of 100 %."""
        return max(self.aggregating // max(self.sampling, 1), 1)


class RegionCount(Model):
    """Bounds of the number of regions: accuracy against overhead."""

    min: Count = 10
    """The fewest regions, at least 3; more are more accurate."""
    max: Count = 1000
    """The most regions; limits the overhead, whatever the memory's size."""
