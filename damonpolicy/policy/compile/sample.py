"""Compilation of `accesses` to sample filters of the development tree.

A report is dropped by the first filter that matches and rejects; what is left is kept if
the last filter allows (mm/damon/core.c of the development tree: damon_sample_filter_out()).
So: reject the complement of each condition, then one final allow. That is also right for
kernels that would treat these filters like DAMOS filters.
"""

from __future__ import annotations

from damonpolicy.base.units import format_cpulist
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.numa import cpus_of
from damonpolicy.policy.model.sample import Accesses, NodeCpus

__all__ = ("NUMA_BALANCING", "early_files", "sample_files")

NUMA_BALANCING = "/proc/sys/kernel/numa_balancing"
"""NUMA balancing must be off: DAMON gets only faults that it does not take."""


def sample_files(accesses: Accesses, machine: Machine | None) -> dict[str, str]:
    """Return the files below ``sample/``, for accesses that page faults report."""
    conditions: list[tuple[str, ...]] = []  # the type, CPUs, threads, what matches
    if accesses.cpus is not None:
        conditions.append(("cpumask", _cpus(accesses, machine), "", "N"))
    if accesses.threads is not None:
        conditions.append(("threads", "", _threads(accesses), "N"))
    if accesses.kind != "any":
        # a read is anything that is not a write: the kernel has no word for reads
        conditions.append(("write", "", "", "N" if accesses.kind == "write" else "Y"))
    filters = [(*each, "N") for each in conditions]
    if conditions:
        *last, matching = conditions[-1]
        filters.append((*last, "N" if matching == "Y" else "Y", "Y"))
    own = view.Sample()
    files = {
        own.page_table.path: "N",
        own.page_fault.path: "Y",
        own.filters.count.path: str(len(filters)),
    }
    for index, values in enumerate(filters):
        each = own.filters[index]
        names = (each.type, each.cpus, each.threads, each.matching, each.allow)
        files |= {file.path: value for file, value in zip(names, values, strict=True)}
    return files


def early_files(accesses: Accesses, machine: Machine | None) -> dict[str, str]:
    """Return the files below ``operations_attrs/``, the form that the development tree had first.

    All of its conditions must hold; it has no word for reads.
    """
    own = view.EarlyAccesses()
    return {
        own.use_reports.path: "Y",
        own.write_only.path: "Y" if accesses.kind == "write" else "N",
        own.cpus.path: _cpus(accesses, machine),
        own.threads.path: _threads(accesses),
    }


def _cpus(accesses: Accesses, machine: Machine | None) -> str:
    if isinstance(accesses.cpus, NodeCpus):
        return format_cpulist(cpus_of(machine, accesses.cpus.numa_node) if machine else ())
    return format_cpulist(accesses.cpus or ())


def _threads(accesses: Accesses) -> str:
    return ",".join(str(thread) for thread in accesses.threads or ())
