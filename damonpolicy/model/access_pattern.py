"""``access_pattern/``: which regions a scheme is for."""

from __future__ import annotations

from damonpolicy.model.scalars import AgeText, Bytes, Model, Percent

__all__ = ("AccessPattern", "Ages", "Rates", "Sizes")


class Sizes(Model):
    """Sizes of regions; an omitted bound does not bind."""

    min: Bytes | None = None
    max: Bytes | None = None


class Rates(Model):
    """Share of samples in which a region was accessed."""

    min: Percent | None = None
    max: Percent | None = None


class Ages(Model):
    """How long the access pattern has stayed as it is."""

    min: AgeText | None = None
    max: AgeText | None = None


class AccessPattern(Model):
    """All three must hold."""

    size: Sizes = Sizes()
    access_rate: Rates = Rates()
    age: Ages = Ages()
