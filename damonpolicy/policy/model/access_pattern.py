"""``access_pattern/``: the regions that a scheme selects."""

from __future__ import annotations

from damonpolicy.policy.model.scalars import AgeText, Bytes, Model, RateText

__all__ = ("AccessPattern", "Ages", "Rates", "Sizes")


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
    """How long the access pattern has not changed."""

    min: AgeText | None = None
    """The least age: a time, or such as `20 aggregations`."""
    max: AgeText | None = None
    """The greatest age."""


class AccessPattern(Model):
    """Size, access rate and age of regions; all three must match."""

    size: Sizes = Sizes()
    """How large the region is."""
    access_rate: Rates = Rates()
    """How often it is accessed."""
    age: Ages = Ages()
    """How long its size and access rate have not changed."""
