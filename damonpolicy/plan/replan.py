"""Replanning of a transaction under way without processes that have ended.

The kernel looks every pid up at each commit, and refuses the whole commit if one is gone
(mm/damon/sysfs.c: damon_sysfs_add_target()). Where a hundred processes end in a second, a plan
from the beginning would always come too late: only the targets are planned once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tree import Tree, slot_tree, under
from damonpolicy.kernel.operation import Operation
from damonpolicy.plan.diff import changes
from damonpolicy.plan.ir import CompiledKdamond, Member
from damonpolicy.plan.online import acts, inherits, pids, recommit, started, with_pids, without_dead
from damonpolicy.plan.plan import KdamondPlan

__all__ = ("Halfway", "mend", "staged")


def staged(before: Tree, slot: int, done: Iterable[Operation]) -> dict[str, str]:
    """Return a slot's tree after operations; new directories' defaults are not listed."""
    tree = slot_tree(before, slot)
    for each in done:
        if each.slot != slot or each.kind not in ("write", "count"):
            continue
        path = each.relative.removeprefix(f"{slot}/")
        if each.kind == "count":
            for inside in under(path, tree):
                del tree[inside]
        tree[path] = each.after
    return tree


@dataclass(frozen=True, slots=True)
class Halfway:
    """How far a transaction has come with a kdamond."""

    staged: Tree
    committed: Tree
    """What the kernel took last."""
    names: Mapping[str, str]
    """Those of the schemes that it took."""
    running: bool


def mend(
    each: KdamondPlan,
    dead: Collection[int],
    halfway: Halfway,
    kdamond: CompiledKdamond,
    spares: Iterable[Member] = (),
) -> tuple[KdamondPlan, list[Operation]] | None:
    """Plan the rest for a kdamond without the ``dead`` processes; None if no other is left.

    A kdamond that was to be changed and does not run any more is started; one whose
    schemes would act on where the dead had its memory is restarted. ``spares`` take the places of
    the dead, but for those that the kernel has to drop: where the list of targets keeps its length,
    no other is written again.
    """
    now, committed, running = halfway.staged, halfway.committed, halfway.running
    moves = running and inherits(committed, without_dead(each.after, lambda pid: pid not in dead))
    known = set(pids(committed)) if running and not moves else set()
    new = (pid for pid, _ in each.members if pid in dead and str(pid) not in known)
    # one with the pid of a process that was committed would get the regions of that
    monitored = set(pids(committed))
    others = (spare for spare in spares if str(spare[0]) not in monitored)
    instead = dict(zip(new, others, strict=False))
    taken = {str(pid): str(spare) for pid, (spare, _) in instead.items()}
    after = without_dead(with_pids(each.after, taken), lambda pid: pid not in dead)
    replaced = (instead.get(member[0], member) for member in each.members)
    members = tuple(member for member in replaced if member[0] not in dead)
    if not members:
        return None
    action = each.action
    if action == "change" and running and not (moves and acts(after)):
        operations = recommit(each.slot, now, committed, after, kdamond, halfway.names)
    else:
        operations, _ = changes(each.slot, now, after, "start")
        *stop, start = started(each.slot, running=running)
        operations = [*stop, *operations, start]
        action = "restart" if action == "change" else action
    return replace(each, action=action, after=after, members=members), operations
