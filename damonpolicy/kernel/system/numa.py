"""NUMA nodes and CPUs."""

from __future__ import annotations

from damonpolicy.base.units import UnitError, read_cpulist
from damonpolicy.kernel.system.machine import Machine, entries, read_or

__all__ = ("cpus_of", "nodes", "online_cpus", "possible_cpus")

_NODES = "/sys/devices/system/node"
_CPUS = "/sys/devices/system/cpu"


def nodes(machine: Machine) -> tuple[int, ...]:
    """Return the online nodes; one node 0 if the kernel has no NUMA."""
    listed = read_or(machine, f"{_NODES}/online")
    found = [int(name[4:]) for name in entries(machine, _NODES) if name[4:].isdecimal()]
    return _list(listed) or tuple(sorted(found)) or (0,)


def cpus_of(machine: Machine, node: int) -> tuple[int, ...]:
    """Return the CPUs of a node."""
    return _list(read_or(machine, f"{_NODES}/node{node}/cpulist"))


def online_cpus(machine: Machine) -> tuple[int, ...]:
    """Return the online CPUs."""
    return _list(read_or(machine, f"{_CPUS}/online")) or (0,)


def possible_cpus(machine: Machine) -> tuple[int, ...]:
    """Return the CPUs that could ever be online; the kernel refuses masks beyond them."""
    return _list(read_or(machine, f"{_CPUS}/possible")) or online_cpus(machine)


def _list(text: str) -> tuple[int, ...]:
    try:
        return read_cpulist(text)
    except UnitError:
        return ()
