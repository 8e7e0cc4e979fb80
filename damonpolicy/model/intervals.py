"""``monitoring_attrs/intervals/`` and ``monitoring_attrs/nr_regions/``."""

from __future__ import annotations

from damonpolicy.model.scalars import Count, Duration, Model, Percent

__all__ = ("AutoTune", "Intervals", "RegionCount")

SAMPLE = 5_000
AGGREGATION = 100_000
UPDATE = 60_000_000
"""The kernel's own defaults in microseconds (mm/damon/sysfs.c: damon_sysfs_attrs_add_dirs())."""


class AutoTune(Model):
    """Let the kernel stretch the intervals until a share of all accesses is observed."""

    observe: Percent
    aggregations: Count
    min_sample: Duration
    max_sample: Duration


class Intervals(Model):
    """How often is looked, summed up, and the layout of memory followed.

    With ``auto_tune``, sample and aggregation are where the kernel starts from; their ratio stays.
    """

    sample: Duration | None = None
    aggregation: Duration | None = None
    update: Duration = UPDATE
    auto_tune: AutoTune | None = None

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
        """Samples in an aggregation: what 100 % access rate means to the kernel."""
        return max(self.aggregating // max(self.sampling, 1), 1)


class RegionCount(Model):
    """Bounds of the number of regions: accuracy against overhead."""

    min: Count = 10
    max: Count = 1000
