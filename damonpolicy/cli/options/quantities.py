"""Options that are durations, sizes or percentages, with units."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import UnitError, read_duration, read_percent

__all__ = ("duration", "percent", "percentages", "quantity")

Number = TypeVar("Number")


def duration(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Read a duration such as ``2m`` into microseconds."""
    del context
    return quantity(read_duration, value, parameter.opts[0])


def percent(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Read a share such as ``50%`` into whole percents, rounded up."""
    del context
    return -int(-quantity(read_percent, value, parameter.opts[0]) * 100 // 1)


def percentages(text: str) -> list[float]:
    """Read `--percentiles`: plain numbers from 0 to 100."""
    try:
        found = [float(each) for each in text.split(",")]
    except ValueError as error:
        message = f"--percentiles: `{text[:80]}` is not a list of numbers"
        raise UsageError(message, hint="write for example `25,50,75`") from error
    if not all(0 <= each <= 100 for each in found):
        raise UsageError("--percentiles: they are from 0 to 100", hint="write `25,50,75`")
    return found


def quantity(reader: Callable[[str], Number], value: str, option: str) -> Number:
    """Read the value of an option, which a UsageError names."""
    try:
        return reader(value)
    except UnitError as error:
        raise UsageError(f"`{option}`: {error.message}", hint=error.hint) from error
