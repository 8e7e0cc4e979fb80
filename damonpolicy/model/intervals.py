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
    """The share of all accesses that shall be observed."""
    aggregations: Count
    """For how many aggregations, before the intervals are tuned again."""
    min_sample: Duration
    """The shortest sampling interval to tune to."""
    max_sample: Duration
    """The longest sampling interval to tune to."""


class Intervals(Model):
    """How often is looked, summed up, and the layout of memory followed.

    With ``auto_tune``, sample and aggregation are where the kernel starts from; their ratio stays.
    """

    sample: Duration | None = None
    """How often is looked whether a page was accessed; 5ms by default."""
    aggregation: Duration | None = None
    """How long samples are summed up before schemes see them; 20 samples by default."""
    update: Duration = UPDATE
    """How often the layout of memory is looked up anew."""
    auto_tune: AutoTune | None = None
    """Let the kernel tune both, from where `sample` and `aggregation` say."""

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
    """At least 3; more are more accurate."""
    max: Count = 1000
    """Bounds the overhead, whatever the memory's size."""
