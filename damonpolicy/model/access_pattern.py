"""``access_pattern/``: which regions a scheme is for."""

from __future__ import annotations

from damonpolicy.model.scalars import AgeText, Bytes, Model, RateText

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
