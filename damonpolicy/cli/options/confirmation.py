"""Options shared by commands that support ``--confirm-within``."""

from __future__ import annotations

from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import read_duration
from damonpolicy.cli.context import Invocation
from damonpolicy.cli.options.quantities import quantity
from damonpolicy.engine.confirm import start_guard
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.damon.capabilities import Capabilities

__all__ = ("confirmation", "terms")


def confirmation(text: str | None) -> float | None:
    """Read ``--confirm-within``, in seconds."""
    if text is None:
        return None
    seconds = quantity(read_duration, text, "--confirm-within") / 1e6
    if seconds <= 0:
        raise UsageError("`--confirm-within` is 0", hint="give the time that you need to check")
    return seconds


def terms(
    invocation: Invocation,
    reason: str,
    within: float | None,
    capabilities: Capabilities | None = None,
) -> Terms:
    """Return how to carry out a plan; a deadline has a guard that is started with it."""

    def start(number: int, deadline: float) -> None:
        start_guard(invocation.machine(), number, deadline, invocation.passed_on())

    guard = None if within is None else start
    return Terms(reason, capabilities=capabilities, confirm_within=within, guard=guard)
