"""Loops that move a setting or a quota between bounds, so that something measured comes right."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from damonpolicy import units
from damonpolicy.model.scalars import (
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
from damonpolicy.model.sources import Factor, Source

__all__ = ("Bounds", "Tuning")


def _amount(text: str) -> int:
    return units.read_integer(text) if text.isdecimal() else units.read_bytes(text)


_read_amount, _amount_schema = scalar(
    _amount,
    f"{SIZE}|{up_to(units.U64_MAX)}",
    number=between(0, units.U64_MAX),
    example="100MiB",
)
Amount: TypeAlias = Annotated[int, _read_amount, _amount_schema]
"""Bytes, or a plain number."""


class Bounds(Model):
    """What the value never leaves."""

    min: Amount
    """The least: a number, or a size such as `10MiB`."""
    max: Amount
    """The most."""


class Tuning(Model):
    """One loop. It moves one thing: a ``setting`` of this policy, or the ``quota`` of a scheme."""

    name: Name
    """Known by this name in logs, `status` and metrics."""
    setting: SomeText | None = None
    """The file to move: one of this policy's `settings`, which say where it starts."""
    quota: SomeText | None = None
    """The scheme whose quota's `size` to move, as `KDAMOND/SCHEME`; its `size` is the start."""
    from_: Source = Field(alias="from")
    """What is measured."""
    target: Factor | None = None
    """What the measured number shall become; without it, the value follows the number itself."""
    effect: Literal["raises", "lowers"] = "raises"
    """What a larger value does to the measured number."""
    bounds: Bounds
    """What the value never leaves."""
    every: Duration = 10_000_000
    """How often it moves."""
    step: Percent = Fraction(1, 4)
    """The most it moves at a time, as a share of itself."""
    dead_band: Percent = Fraction(1, 20)
    """How far from right it is left alone."""
    fall_back: Amount | None = None
    """Where to go when the source has given nothing for `fall_back_after`; `bounds.min` else."""
    fall_back_after: Duration = 300_000_000
    """How long the value stays where it is without a number that is fresh."""
