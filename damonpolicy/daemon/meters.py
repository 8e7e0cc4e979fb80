"""Readers of running kdamonds' numbers, for `tuning.sources.Meter`, and the turns of all readings.

A slow source delays no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Protocol, TypeVar

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.scheduler import beat
from damonpolicy.engine.execute import OperationFailed, ask
from damonpolicy.engine.session import changing
from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.tree import kdamond_path
from damonpolicy.kernel.damon.view import Kdamond, Scheme
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.state import SlotRecord
from damonpolicy.tuning.goals import GoalMeter
from damonpolicy.tuning.sources import Meter, Source, Stale

__all__ = ("meter", "pause", "soonest", "troubles", "turns")

_ROUND = 2.0
"""Seconds after which a round ends, for signs of life and policy files."""
_SLOW = 0.5
"""Seconds that a source without a number may take before it is paused."""
_IDLE = 5.0
"""Seconds until the next look if there is nothing to read."""
_SHARE = 10
"""The pause of a source, as a multiple of the time that it took."""


def meter(source: Source, keeper: Keeper) -> Meter:
    """Return a reader of a source of any kind."""

    def scheme(_: Machine, source: Source) -> Fraction:
        """Return the bytes that a scheme of ours has counted so far."""
        kdamond, _, name = source["scheme"].rpartition("/")

        def file(record: SlotRecord) -> File:
            base = next(each for each, known in record.names.items() if known == name)
            stats = Scheme(path=base).stats
            return {
                "tried": stats.sz_tried,
                "applied": stats.sz_applied,
                "passed": stats.sz_ops_filter_passed,
            }[source["statistic"]]

        return _ask(keeper, kdamond, "update_schemes_stats", file)

    def aggregation(_: Machine, source: Source) -> Fraction:
        """Return the microseconds of a kdamond's aggregation, as tuned now."""
        file = Kdamond().intervals.aggregation
        tuned = "update_tuned_intervals"
        return _ask(keeper, source["aggregation"], tuned, lambda _: file)

    more = {"scheme": scheme, "aggregation": aggregation}
    if "metric" in source:
        measured = GoalMeter(keeper.machine, source["metric"], node=source.get("node") or 0)

        def metric(_: Machine, source: Source) -> Fraction:
            value = measured.read()
            return Fraction(10_000 - value if source.get("complement") else value)

        more["metric"] = metric
    return Meter(keeper.machine, source, more)


def _ask(
    keeper: Keeper, kdamond: str, command: str, file: Callable[[SlotRecord], File]
) -> Fraction:
    """Have a kdamond update its files, and read one; raises Stale."""
    machine = keeper.machine
    slot = keeper.managed().slot_of(kdamond)
    if slot is None:
        raise Stale(f"`{kdamond}` does not run")
    record = keeper.managed().slots[slot]
    path = kdamond_path(slot, file(record).path)
    try:
        with changing(machine, keeper.places, settle=True) as session:
            now = session.managed.slots.get(slot)
            if now is None or (now.kdamond, now.pid) != (kdamond, record.pid):
                raise Stale(f"`{kdamond}` does not run")
            ask(machine, slot, command, record.files)
            return Fraction(machine.read(path))
    except OperationFailed as error:
        raise Stale(f"`{kdamond}` does not answer: {error}") from error
    except DamonPolicyError as error:
        raise Stale(error.message) from error


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
