"""Scheduling of sources, so that slow ones do not delay the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from damonpolicy.tuning.sources import Meter

__all__ = ("pause", "turns")

_ROUND = 2.0
"""Seconds after which a round ends, for signs of life and policy files."""
_SLOW = 0.5
"""Seconds that a source without a number may take before it is paused."""
_SHARE = 10
"""The pause of a source, as a multiple of the time that it took."""


class _Due(Protocol):
    due: float


_T = TypeVar("_T", bound=_Due)


def turns(readings: Iterable[_T], now: float) -> Iterator[_T]:
    """Yield due items, longest wait first, for as long as a round may take."""
    end = time.monotonic() + _ROUND
    for each in sorted((each for each in readings if each.due <= now), key=lambda each: each.due):
        if time.monotonic() > end:
            return
        yield each


def pause(meters: Iterable[Meter]) -> float:
    """Return the seconds to pause, as one of them took long without a result."""
    return max((_SHARE * each.lost for each in meters if each.lost > _SLOW), default=0.0)
