"""Compilation of `accesses` to sample filters of the development tree.

A report is dropped by the first filter that matches and rejects; what is left is kept if
the last filter allows (mm/damon/core.c of the development tree: damon_sample_filter_out()).
So: reject the complement of each condition, then one final allow. That is also right for
kernels that would treat these filters like DAMOS filters.
"""

from __future__ import annotations

from damonpolicy.base.units import format_cpulist
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.numa import cpus_of
from damonpolicy.policy.model.sample import Accesses, NodeCpus

__all__ = ("NUMA_BALANCING", "early_files", "sample_files")

NUMA_BALANCING = "/proc/sys/kernel/numa_balancing"
"""NUMA balancing must be off: DAMON gets only faults that it does not take."""


def sample_files(accesses: Accesses, machine: Machine | None) -> dict[str, str]:
    """Return the files below ``sample/``, for accesses that page faults report."""
    filters: list[dict[str, str]] = []
    if accesses.cpus is not None:
        mask = _cpus(accesses, machine)
        filters.append({"type": "cpumask", "cpumask": mask, "matching": "N", "allow": "N"})
    if accesses.threads is not None:
        threads = _threads(accesses)
        filters.append({"type": "threads", "tid_arr": threads, "matching": "N", "allow": "N"})
    if accesses.kind != "any":
        # a read is anything that is not a write: the kernel has no word for reads
        matching = "N" if accesses.kind == "write" else "Y"
        filters.append({"type": "write", "matching": matching, "allow": "N"})
    if filters:
        opposite = "N" if filters[-1]["matching"] == "Y" else "Y"
        filters.append({**filters[-1], "matching": opposite, "allow": "Y"})
    files = {
        "primitives/page_table": "N",
        "primitives/page_fault": "Y",
        "filters/nr_filters": str(len(filters)),
    }
    for index, each in enumerate(filters):
        base = {"cpumask": "", "tid_arr": ""} | each
        files |= {f"filters/{index}/{name}": value for name, value in base.items()}
    return files


def early_files(accesses: Accesses, machine: Machine | None) -> dict[str, str]:
    """Return the files below ``operations_attrs/``, the form that the development tree had first.

    All of its conditions must hold; it has no word for reads.
    """
    return {
        "use_reports": "Y",
        "write_only": "Y" if accesses.kind == "write" else "N",
        "cpus": _cpus(accesses, machine),
        "tids": _threads(accesses),
    }


def _cpus(accesses: Accesses, machine: Machine | None) -> str:
    if isinstance(accesses.cpus, NodeCpus):
        return format_cpulist(cpus_of(machine, accesses.cpus.numa_node) if machine else ())
    return format_cpulist(accesses.cpus or ())


def _threads(accesses: Accesses) -> str:
    return ",".join(str(thread) for thread in accesses.threads or ())
