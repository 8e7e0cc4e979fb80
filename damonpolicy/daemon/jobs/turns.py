"""Turns of goals and loops that read sources, so that slow sources delay no other."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

from damonpolicy.daemon.scheduler import beat
from damonpolicy.tuning.sources import Meter

__all__ = ("pause", "soonest", "troubles", "turns")

_ROUND = 2.0
"""Seconds after which a round ends, for signs of life and policy files."""
_SLOW = 0.5
"""Seconds that a source without a number may take before it is paused."""
_IDLE = 5.0
"""Seconds until the next look if there is nothing to read."""
_SHARE = 10
"""The pause of a source, as a multiple of the time that it took."""


class _Due(Protocol):
    due: float


class _Named(Protocol):
    trouble: str

    @property
    def name(self) -> str: ...


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


def soonest(readings: Collection[_Due], now: float) -> float:
    """Return when the first of them is due."""
    return min((each.due for each in readings), default=beat(now, _IDLE))


def troubles(readings: Iterable[_Named]) -> Mapping[str, str]:
    """Return the troubles of those that have one, by name."""
    return {each.name: each.trouble for each in readings if each.trouble}
