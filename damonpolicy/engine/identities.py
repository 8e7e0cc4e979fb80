"""Checks that a kdamond's processes are still the ones that were found.

The kernel looks pids up at each commit and start, and knows no start times.
"""

from __future__ import annotations

from collections.abc import Sequence

from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.host import pids, starts
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import Member

__all__ = ("all_gone", "dead", "looks_pids_up", "reused")


def looks_pids_up(operation: Operation) -> bool:
    """Return whether the kernel looks up the pids of a slot in an operation."""
    return operation.kind == "command" and operation.after in ("on", "commit")


def dead(machine: Machine, members: Sequence[Member]) -> set[int]:
    """Return the pids that belong to no process any more, or to another one.

    This reads a file for each, and others may end meanwhile: so a last step checks all at once.
    """
    if not members:
        return set()
    other = {pid for pid, start in members if starts(machine, pid) != start}
    here = set(pids(machine))
    return other | {pid for pid, _ in members if pid not in here}


def all_gone(machine: Machine, members: Sequence[Member]) -> int:
    """Return the first pid if no process is left; 0 if one lives, or there were none."""
    lives = any(starts(machine, pid) == start for pid, start in members)
    return 0 if lives or not members else members[0][0]


def reused(machine: Machine, members: Sequence[Member]) -> int:
    """Return a pid that now belongs to another process, 0 if there is none."""
    known = ((pid, start, starts(machine, pid)) for pid, start in members)
    return next((pid for pid, start, now in known if now and now != start), 0)
