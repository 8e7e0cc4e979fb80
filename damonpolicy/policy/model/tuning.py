"""Loops that move a setting or a quota between bounds, to reach a target."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from damonpolicy.base import units
from damonpolicy.policy.model.scalars import (
    SIZE,
    Duration,
    Model,
    Name,
    Percent,
    SomeText,
    between,
    scalar,
    up_to,
)
from damonpolicy.policy.model.sources import Factor, Source

__all__ = ("Bounds", "Tuning")


Amount: TypeAlias = Annotated[
    int,
    *scalar(
        lambda text: units.read_integer(text) if text.isdecimal() else units.read_bytes(text),
        f"{SIZE}|{up_to(units.U64_MAX)}",
        number=between(0, units.U64_MAX),
        example="100MiB",
    ),
]
"""Bytes, or a plain number."""


class Bounds(Model):
    """The bounds of the value."""

    min: Amount
    """The least: a number, or a size such as `10MiB`."""
    max: Amount
    """The most."""


class Tuning(Model):
    """One loop. It moves one value: a ``setting`` of this policy, or the ``quota`` of a scheme."""

    name: Name
    """The name in logs, `status` and metrics."""
    setting: SomeText | None = None
    """The file to move: one of this policy's `settings`, whose value is the start."""
    quota: SomeText | None = None
    """The scheme whose quota's `size` to move, as `KDAMOND/SCHEME`; its `size` is the start."""
    from_: Source = Field(alias="from")
    """The source of the measured number."""
    target: Factor | None = None
    """The target of the measured number; without it, the value follows the number itself."""
    effect: Literal["raises", "lowers"] = "raises"
    """The effect of a larger value on the measured number."""
    bounds: Bounds
    """The bounds of the value."""
    every: Duration = 10_000_000
    """How often to move the value."""
    step: Percent = Fraction(1, 4)
    """The largest move, as a share of the value."""
    dead_band: Percent = Fraction(1, 20)
    """The distance from the target within which the value stays."""
    fall_back: Amount | None = None
    """The value to use after `fall_back_after` without a number; `bounds.min` by default."""
    fall_back_after: Duration = 300_000_000
    """How long the value stays unchanged without a fresh number."""
