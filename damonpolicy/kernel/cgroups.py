"""Control groups: the subtree below a path."""

from __future__ import annotations

from damonpolicy.kernel.sysfs import Machine, read_or

__all__ = ("MOUNT", "children", "exists", "has_memory", "subtree")

MOUNT = "/sys/fs/cgroup"


def _place(path: str) -> str:
    return (MOUNT + "/" + path.strip("/")).rstrip("/")


def exists(machine: Machine, path: str) -> bool:
    """Tell whether a cgroup exists."""
    return machine.exists(f"{_place(path)}/cgroup.controllers")


def has_memory(machine: Machine, path: str) -> bool:
    """Tell whether the memory controller counts for a cgroup; without it nothing can match."""
    return "memory" in read_or(machine, f"{_place(path)}/cgroup.controllers").split()


def children(machine: Machine, path: str) -> list[str]:
    """Return the names of the cgroups right below ``path``."""
    try:
        return [name for name, is_dir in machine.scan(_place(path)) if is_dir]
    except OSError:
        return []


def subtree(machine: Machine, path: str) -> list[str]:
    """Return ``path`` and every cgroup below it that has the memory controller.

    The kernel compares a page's own cgroup only (mm/damon/ops-common.c:
    damos_folio_filter_match()), so a subtree is the list of all its members.
    """
    top = "/" + path.strip("/")
    found, waiting = [], [top]
    while waiting:
        here = waiting.pop(0)
        if has_memory(machine, here):
            found.append(here)
        waiting += [f"{here.rstrip('/')}/{name}" for name in children(machine, here)]
    return found
