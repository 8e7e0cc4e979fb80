"""Series to report on, and reports run on them without a kernel or a file."""

from __future__ import annotations

import importlib

from damonpolicy.cli.commands.reports.inputs import Inputs
from damonpolicy.cli.context import Invocation
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of

TENTH = Intervals(5_000, 100_000)


def series(source, *regions, passed=None):
    """One snapshot; regions are start, end, accesses, age, and target if it is known."""
    columns = list(zip(*regions, strict=True)) or [(), (), (), ()]
    return series_of(source, [(1, 2, TENTH, Regions.of(*columns, passed=passed))])


def report(monkeypatch, name, found, *arguments, machine=None):
    """Run `report NAME`; what it would load is given."""
    module = importlib.import_module(f"damonpolicy.cli.commands.reports.{name}")
    monkeypatch.setattr(Inputs, "load", lambda self, _: [self._weighed(each) for each in found])
    invocation = Invocation(kernel="emulated:7.3", opened=machine)
    return module.command.main(
        list(arguments), prog_name=name, standalone_mode=False, obj=invocation
    )


__all__ = ("Source", "report", "series")
