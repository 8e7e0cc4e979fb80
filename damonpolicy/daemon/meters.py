"""Readers of running kdamonds' numbers, for `tuning.sources.Meter`."""

from __future__ import annotations

from fractions import Fraction

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.execute import OperationFailed, ask
from damonpolicy.engine.session import changing
from damonpolicy.engine.state_directory import Places
from damonpolicy.kernel.operation import kdamond_path
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.tuning.goals import GoalMeter
from damonpolicy.tuning.sources import Meter, Source, Stale

__all__ = ("meter",)

_STATISTICS = {"tried": "sz_tried", "applied": "sz_applied", "passed": "sz_ops_filter_passed"}


def meter(source: Source, keeper: Keeper, places: Places) -> Meter:
    """Return a reader of a source of any kind."""

    def scheme(_: Machine, source: Source) -> Fraction:
        """Return the bytes that a scheme of ours has counted so far."""
        kdamond, _, name = source["scheme"].rpartition("/")
        statistic = _STATISTICS[source["statistic"]]
        return _ask(keeper, places, kdamond, "update_schemes_stats", f"stats/{statistic}", name)

    def aggregation(_: Machine, source: Source) -> Fraction:
        """Return the microseconds of a kdamond's aggregation, as tuned now."""
        path = "contexts/0/monitoring_attrs/intervals/aggr_us"
        return _ask(keeper, places, source["aggregation"], "update_tuned_intervals", path)

    more = {"scheme": scheme, "aggregation": aggregation}
    if "metric" in source:
        measured = GoalMeter(keeper.machine, source["metric"], node=source.get("node") or 0)

        def metric(_: Machine, source: Source) -> Fraction:
            value = measured.read()
            return Fraction(10_000 - value if source.get("complement") else value)

        more["metric"] = metric
    return Meter(keeper.machine, source, more)


def _ask(
    keeper: Keeper, places: Places, kdamond: str, command: str, path: str, scheme: str = ""
) -> Fraction:
    """Have a kdamond update its files, and read one; raises Stale."""
    machine = keeper.machine
    slot = keeper.managed().slot_of(kdamond)
    if slot is None:
        raise Stale(f"`{kdamond}` does not run")
    record = keeper.managed().slots[slot]
    if scheme:
        path = f"{next(each for each, name in record.names.items() if name == scheme)}/{path}"
    try:
        with changing(machine, places, settle=True) as session:
            now = session.managed.slots.get(slot)
            if now is None or (now.kdamond, now.pid) != (kdamond, record.pid):
                raise Stale(f"`{kdamond}` does not run")
            ask(machine, slot, command, record.files)
            return Fraction(machine.read(kdamond_path(slot, path)))
    except OperationFailed as error:
        raise Stale(f"`{kdamond}` does not answer: {error}") from error
    except DamonPolicyError as error:
        raise Stale(error.message) from error
