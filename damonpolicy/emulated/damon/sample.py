"""Access filters: the development tree's sampling by page faults.

Faults report CPU, thread, and reads or writes; filters drop reports. On a kernel with the series
(damon-next of 2026-08), it was seen to work only on physical addresses in units of one byte, and
only while NUMA balancing leaves the faults to DAMON. The early form of the tree has its conditions
in four files instead, and all have to hold.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from damonpolicy.base.units import read_cpulist
from damonpolicy.emulated.values import threads
from damonpolicy.kernel.damon.view import Kdamond, SampleFilter

__all__ = ("by_faults", "counted")


def by_faults(files: Kdamond) -> bool:
    """Return whether page faults report the accesses."""
    return files.early_accesses.use_reports.yes or files.sample.page_fault.yes


def counted(files: Kdamond, area: dict[str, Any], *, balancing: bool) -> float:
    """Return the share of an area's accesses that faults count.

    ``balancing``: NUMA balancing is on.
    """
    if balancing or files.addr_unit.number != 1 or files.ops.text != "paddr":
        return 0.0
    share = 0.0
    cpus = area["cpus"]
    for cpu, write in product(cpus, (False, True)):
        likely = (area["written"] if write else 1 - area["written"]) / len(cpus)
        if likely and _kept(files, cpu, area["pid"], write=write):
            share += likely
    return share


def _kept(files: Kdamond, cpu: int, thread: int, *, write: bool) -> bool:
    """Return whether an access counts (mm/damon/core.c: damon_sample_filter_out())."""
    early = files.early_accesses
    if early.use_reports.present:
        return (
            (not early.write_only.yes or write)
            and (not early.cpus.text or cpu in read_cpulist(early.cpus.text))
            and (not early.threads.text or thread in threads(early.threads.text))
        )
    filters = list(files.sample.filters)
    for each in filters:
        if _matches(each, cpu, thread, write=write) == each.matching.yes and not each.allow.yes:
            return False
    return not filters or filters[-1].allow.yes


def _matches(each: SampleFilter, cpu: int, thread: int, *, write: bool) -> bool:
    kind, ids, cpus = each.type.text, each.threads.text, each.cpus.text
    if kind == "write":
        return write
    if kind == "threads":
        return bool(ids) and thread in threads(ids)
    return bool(cpus) and cpu in read_cpulist(cpus)
