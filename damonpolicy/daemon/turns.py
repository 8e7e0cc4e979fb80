"""Turns for sources, so that slow ones do not hold up the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from damonpolicy.tuning.sources import Meter

__all__ = ("pause", "turns")

_ROUND = 2.0
"""Seconds after which nothing more is begun: signs of life and policy files have their turn."""
_SLOW = 0.5
"""Seconds that a source which gives no number may take without being let be for a while."""
_SHARE = 10
"""How much longer it is let be than it took."""


class _Due(Protocol):
    due: float


_T = TypeVar("_T", bound=_Due)


def turns(readings: Iterable[_T], now: float) -> Iterator[_T]:
    """Yield what is due, what has waited longest first, for as long as a round may take."""
    end = time.monotonic() + _ROUND
    for each in sorted((each for each in readings if each.due <= now), key=lambda each: each.due):
        if time.monotonic() > end:
            return
        yield each


def pause(meters: Iterable[Meter]) -> float:
    """Return for how many seconds not to ask again, as one of them took long for nothing."""
    return max((_SHARE * each.lost for each in meters if each.lost > _SLOW), default=0.0)
