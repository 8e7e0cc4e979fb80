"""Access filters: the development tree's sampling by page faults.

Faults report CPU, thread, and reads or writes; filters drop reports. On a kernel with the series
(damon-next of 2026-08), it was seen to work only on physical addresses in units of one byte, and
only while NUMA balancing leaves the faults to DAMON. The early form of the tree has its conditions
in four files instead, and all have to hold.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

from damonpolicy.base.units import read_cpulist
from damonpolicy.emulated.damon.table import Directory
from damonpolicy.emulated.values import threads

__all__ = ("counted",)


class _Report(NamedTuple):
    """One access."""

    cpu: int
    thread: int
    write: bool


def counted(context: Directory, area: dict[str, Any], *, balancing: bool) -> float:
    """Return the counted share of an area's accesses; ``balancing``: NUMA balancing is on."""
    early = context.get("operations_attrs", {})
    primitives = context["monitoring_attrs"].get("sample", {}).get("primitives", {})
    if early.get("use_reports") != "Y" and primitives.get("page_fault") != "Y":
        return 1.0
    units = context.get("addr_unit", "1") != "1"
    if balancing or units or context["operations"] != "paddr":
        return 0.0
    share = 0.0
    cpus = area["cpus"]
    for cpu, write in product(cpus, (False, True)):
        likely = (area["written"] if write else 1 - area["written"]) / len(cpus)
        if likely and _kept(context, _Report(cpu, area["pid"], write)):
            share += likely
    return share


def _kept(context: Directory, report: _Report) -> bool:
    """Return whether a report counts (mm/damon/core.c: damon_sample_filter_out())."""
    early = context.get("operations_attrs")
    if early is not None:
        return (
            (early["write_only"] != "Y" or report.write)
            and (not early["cpus"] or report.cpu in read_cpulist(early["cpus"]))
            and (not early["tids"] or report.thread in threads(early["tids"]))
        )
    listed = context["monitoring_attrs"]["sample"]["filters"]
    filters = [each for name, each in listed.items() if name.isdecimal()]
    for each in filters:
        if _matches(each, report) == (each["matching"] == "Y") and each["allow"] != "Y":
            return False
    return not filters or bool(filters[-1]["allow"] == "Y")


def _matches(each: Directory, report: _Report) -> bool:
    if each["type"] == "write":
        return report.write
    if each["type"] == "threads":
        return bool(each["tid_arr"]) and report.thread in threads(each["tid_arr"])
    return bool(each["cpumask"]) and report.cpu in read_cpulist(each["cpumask"])
