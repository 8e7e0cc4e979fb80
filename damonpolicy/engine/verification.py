"""Verification of a transaction: everything is read back before it counts as done.

A kdamond's processes have to be the ones that were found: the kernel looks pids up at each commit
and start, and knows no start times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from damonpolicy.engine.journal import Header
from damonpolicy.engine.watch import Watch
from damonpolicy.kernel.damon.tree import (
    Tree,
    configuration,
    differing,
    held,
    is_volatile,
    kdamond_path,
    slot_tree,
    snapshot,
    under,
)
from damonpolicy.kernel.damon.view import Kdamond, Kdamonds
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.host import pids, starts
from damonpolicy.kernel.system.machine import Machine, read_or, read_value
from damonpolicy.plan.ir import Member
from damonpolicy.plan.plan import KdamondPlan, Plan
from damonpolicy.plan.state import Managed, SettingRecord, SlotRecord

__all__ = ("Unverified", "all_gone", "dead", "looks_pids_up", "read_back", "verified")


class Unverified(Exception):
    """The kernel took everything, but the machine is not in the wanted state."""

    def __init__(self, message: str, kdamond: str, path: str = "") -> None:
        super().__init__(message)
        self.about = ((kdamond, path), (kdamond, ""))


def verified(machine: Machine, plan: Plan, header: Header, watch: Watch) -> Managed:
    """Read everything back; the result is what the state file will say.

    Raises Unverified if the machine is not in the wanted state.
    """
    tree = snapshot(machine) if plan.operations else watch.current.tree
    _compare_count(tree, header, watch.current.tree)
    slots: dict[int, SlotRecord] = {}
    for each in plan.kdamonds:
        there = Kdamonds(tree)[each.slot].state.present
        if each.slot < 0 or not (there or each.runs):
            continue
        now = slot_tree(tree, each.slot)
        if each.action != "keep":
            _compare(each, now)
        thread = watch.thread(each.slot, tree)
        if thread != watch.threads.get(each.slot):
            message = f"the kdamond `{each.name}` has ended, or another one runs in its slot"
            raise Unverified(message, each.name)
        if each.action == "keep":
            record = header.managed.slots[each.slot]
            slots[each.slot] = replace(record, names=each.names, members=each.members)
            continue
        if gone := _reused(machine, each.members):
            message = f"the process {gone} ended, and another one has its pid"
            raise Unverified(message, each.name)
        if each.runs:
            files, (pid, start) = configuration(now), thread or (-1, 0)
            slots[each.slot] = SlotRecord(
                each.name, files, pid, start, each.members, each.names, each.cgroups
            )
    settings = {
        each.path: SettingRecord(
            each.original,
            read_or(machine, each.path) if each.chosen else each.after,
            each.users,
            each.chosen,
        )
        for each in plan.settings
        if each.users or each.owed
    }
    return replace(
        header.managed,
        boot_id=plan.boot_id,
        transaction=header.transaction,
        generation=header.generation,
        policies=plan.policies,
        slots=slots,
        settings=settings,
        slots_before=plan.slots_before,
        pending=header.pending,
    )


def _compare_count(tree: Tree, header: Header, before: Tree) -> None:
    """Raise Unverified if the number of slots is wrong."""
    found = Kdamonds(tree).count
    counts = [each.after for each in header.operations if each.relative == found.path]
    wanted = counts[-1] if counts else Kdamonds(before).count.text
    if found.text != wanted:
        raise Unverified(f"there are {found.text} slots and not {wanted}", "")


def _compare(each: KdamondPlan, now: dict[str, str]) -> None:
    _tell(each.slot, each.name, now, each.after, differing(now, each.after))
    on = Kdamond(now).state.text == "on"
    if on != each.runs:
        state = "on" if on else "off"
        raise Unverified(f"the kdamond `{each.name}` is {state} after all", each.name)


def read_back(
    machine: Machine, slot: int, name: str, wanted: Tree, written: Iterable[Operation]
) -> None:
    """Raise Unverified if ``written`` files differ from a slot's tree.

    A kernel may break when it uses a wrong file: a `threads` filter without ids, if its write got
    lost. Only these files are read, as short-lived processes have to be committed soon.
    """
    files: set[str] = set()
    before: dict[str, str] = {}
    for each in written:
        path = each.relative.removeprefix(f"{slot}/")
        if each.slot == slot and each.kind in ("write", "count"):
            files |= {path, *(under(path, wanted) if each.kind == "count" else ())}
            before[path] = each.before
    now: dict[str, str] = {}
    ours = {path: wanted[path] for path in sorted(files & wanted.keys())}
    for path in ours:
        with suppress(FileNotFoundError):
            now[path] = read_value(machine, kdamond_path(slot, path))
    # a volatile file may hold a newer value by now, but not the one from before the write
    wrong = [
        path
        for path, value in ours.items()
        if held(path, now) != value
        and (not is_volatile(path, wanted) or now.get(path, "") == before.get(path))
    ]
    _tell(slot, name, now, wanted, wrong)


def _tell(slot: int, name: str, now: Tree, wanted: Tree, wrong: Sequence[str]) -> None:
    """Raise Unverified if any file is ``wrong``."""
    if wrong:
        path = wrong[0]
        message = f"`{slot}/{path}` reads `{now.get(path)}` and not `{wanted[path]}`" + (
            f" ({len(wrong) - 1} more files differ)" if len(wrong) > 1 else ""
        )
        raise Unverified(message, name, path)


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


def _reused(machine: Machine, members: Sequence[Member]) -> int:
    """Return a pid that now belongs to another process, 0 if there is none."""
    known = ((pid, start, starts(machine, pid)) for pid, start in members)
    return next((pid for pid, start, now in known if now and now != start), 0)
