"""The NUMA nodes of a process's memory, from the kernel's list of mappings."""

from __future__ import annotations

import re

from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.kernel.system.memory import PAGE

__all__ = ("process_nodes",)

_COUNT = r"(?<= )N(\d+)=(\d+)(?= |$)"
_SIZE = r" kernelpagesize_kB=(\d+)"


def process_nodes(machine: Machine, pid: int) -> dict[int, int]:
    """Return the bytes of a process on each node; empty where /proc/PID/numa_maps can't be read.

    Each line counts pages of its own size (fs/proc/task_mmu.c: show_numa_map()). Shared memory is
    counted for each process.
    """
    found: dict[int, int] = {}
    for line in read_or(machine, f"/proc/{pid}/numa_maps").splitlines():
        size = re.search(_SIZE, line)
        unit = int(size[1]) * 1024 if size else PAGE
        for node, pages in re.findall(_COUNT, line):
            found[int(node)] = found.get(int(node), 0) + int(pages) * unit
    return dict(sorted(found.items()))
