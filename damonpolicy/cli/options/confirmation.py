"""Options and output shared by commands that support ``--confirm-within``."""

from __future__ import annotations

from collections.abc import Callable

from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import UnitError, read_duration
from damonpolicy.cli.context import Invocation
from damonpolicy.engine.confirm import start_guard

__all__ = ("awaiting", "confirmation", "guard")


def confirmation(text: str | None) -> float | None:
    """Read ``--confirm-within``, in seconds."""
    if text is None:
        return None
    try:
        seconds = read_duration(text) / 1e6
    except UnitError as error:
        message = f"`--confirm-within`: {error.message}"
        raise UsageError(message, hint=error.hint) from error
    if seconds <= 0:
        raise UsageError("`--confirm-within` is 0", hint="give the time that you need to check")
    return seconds


def guard(invocation: Invocation) -> Callable[[int, float], None]:
    """Return what starts the guard of a generation, given its deadline."""

    def start(number: int, deadline: float) -> None:
        start_guard(invocation.machine(), number, deadline, invocation.passed_on())

    return start


def awaiting(within: float | None) -> str:
    """Return the line that states the deadline, if there is one."""
    if within is None:
        return ""
    return f"It is rolled back in {within:g} s unless you run `damonpolicy confirm`.\n"
