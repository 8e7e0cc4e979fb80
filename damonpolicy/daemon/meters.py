"""Readers of running kdamonds' numbers, for `tuning.sources.Meter`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.execute import OperationFailed, ask
from damonpolicy.engine.session import changing
from damonpolicy.engine.state_directory import Places
from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.view import Kdamond, Scheme, Stats
from damonpolicy.kernel.operation import kdamond_path
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.state import SlotRecord
from damonpolicy.tuning.goals import GoalMeter
from damonpolicy.tuning.sources import Meter, Source, Stale

__all__ = ("meter",)


def meter(source: Source, keeper: Keeper, places: Places) -> Meter:
    """Return a reader of a source of any kind."""

    def scheme(_: Machine, source: Source) -> Fraction:
        """Return the bytes that a scheme of ours has counted so far."""
        kdamond, _, name = source["scheme"].rpartition("/")

        def file(record: SlotRecord) -> File:
            base = next(each for each, known in record.names.items() if known == name)
            return _statistic(Scheme(path=base).stats, source["statistic"])

        return _ask(keeper, places, kdamond, "update_schemes_stats", file)

    def aggregation(_: Machine, source: Source) -> Fraction:
        """Return the microseconds of a kdamond's aggregation, as tuned now."""
        file = Kdamond().intervals.aggregation
        tuned = "update_tuned_intervals"
        return _ask(keeper, places, source["aggregation"], tuned, lambda _: file)

    more = {"scheme": scheme, "aggregation": aggregation}
    if "metric" in source:
        measured = GoalMeter(keeper.machine, source["metric"], node=source.get("node") or 0)

        def metric(_: Machine, source: Source) -> Fraction:
            value = measured.read()
            return Fraction(10_000 - value if source.get("complement") else value)

        more["metric"] = metric
    return Meter(keeper.machine, source, more)


def _statistic(stats: Stats, word: str) -> File:
    return {
        "tried": stats.sz_tried,
        "applied": stats.sz_applied,
        "passed": stats.sz_ops_filter_passed,
    }[word]


def _ask(
    keeper: Keeper,
    places: Places,
    kdamond: str,
    command: str,
    file: Callable[[SlotRecord], File],
) -> Fraction:
    """Have a kdamond update its files, and read one; raises Stale."""
    machine = keeper.machine
    slot = keeper.managed().slot_of(kdamond)
    if slot is None:
        raise Stale(f"`{kdamond}` does not run")
    record = keeper.managed().slots[slot]
    path = kdamond_path(slot, file(record).path)
    try:
        with changing(machine, places, settle=True) as session:
            now = session.managed.slots.get(slot)
            if now is None or (now.kdamond, now.pid) != (kdamond, record.pid):
                raise Stale(f"`{kdamond}` does not run")
            ask(machine, slot, command, record.files)
            return Fraction(machine.read(path))
    except OperationFailed as error:
        raise Stale(f"`{kdamond}` does not answer: {error}") from error
    except DamonPolicyError as error:
        raise Stale(error.message) from error
