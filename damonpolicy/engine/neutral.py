"""Neutralisation of goals without a feeder: reported as reached, so that tuning stops.

A goal of the metric `user_input` keeps its last number, and the kernel goes on tuning by it
(mm/damon/core.c: damos_set_quota_goal_current_value()): it would cut a quota down to one byte, or
raise it to its size, because of a number that is hours old. Standard library only: it also follows
a service that was killed.
"""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.base import log
from damonpolicy.base.errors import Busy
from damonpolicy.engine.execute import OperationFailed, ask, perform
from damonpolicy.engine.session import Session, changing
from damonpolicy.engine.state_directory import Places
from damonpolicy.kernel.damon.schema import row
from damonpolicy.kernel.damon.tree import Tree, kdamond_path
from damonpolicy.kernel.damon.view import Goal, Kdamond
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.plan.ir import by_name
from damonpolicy.plan.state import SlotRecord

__all__ = ("SERVICE", "neutralise", "rest", "staged")

SERVICE = "service:"
"""The prefix of owners that feed; goals applied by hand are fed by others, if at all."""


def rest(machine: Machine, places: Places, owner: str = SERVICE) -> list[str]:
    """Lock the machine, and `neutralise` the goals of services whose names begin this way."""
    with changing(machine, places, wait=True, settle=True) as session:
        return neutralise(session, owner)


def neutralise(session: Session, owner: str = SERVICE) -> list[str]:
    """Hand over current = target for each goal that was fed; returns which kdamonds took it.

    Raises Busy if a kdamond does not take it, after all others were handled.
    """
    done, failed = [], []
    for slot, record, goals in _fed(session, owner):
        try:
            if _told(session.machine, slot, record, goals):
                done.append(record.kdamond)
        except OperationFailed as error:
            failed.append(f"`{record.kdamond}`: {error}")
    if done:
        log.info("neutral", kdamonds=done)
    if failed:
        raise Busy(f"goals are no longer fed, and keep their last number: {'; '.join(failed)}")
    return done


def _fed(session: Session, owner: str) -> Iterator[tuple[int, SlotRecord, list[Goal]]]:
    """Yield the running kdamonds with goals that a service feeds, and these goals."""
    policies = session.managed.policies.items()
    kdamonds = by_name({name: each for name, each in policies if each.owner.startswith(owner)})
    for slot, record in session.managed.slots.items():
        known = kdamonds.get(record.kdamond)
        path = kdamond_path(slot, Kdamond().pid.path)
        if known is None or read_or(session.machine, path) != str(record.pid):
            continue
        goals = [Goal(record.files, feed.goal) for feed in known.feeds]
        if goals := [goal for goal in goals if goal.target.present]:
            yield slot, record, goals


def _told(machine: Machine, slot: int, record: SlotRecord, goals: list[Goal]) -> bool:
    """Neutralise one kdamond; False if others have staged something, which we must not commit."""
    if changed := staged(machine, slot, record.files):
        log.warning("neutral", kdamond=record.kdamond, reason=f"`{changed}` was changed")
        return False
    for goal in goals:
        path, target = kdamond_path(slot, goal.current.path), goal.target.text
        before = read_or(machine, path)
        if before != target:
            perform(machine, Operation("write", "stage", path, before, target, slot))
    # even if the files say so already: a killed process may have staged it without a commit
    ask(machine, slot, "commit_schemes_quota_goals", record.files)
    return True


def staged(machine: Machine, slot: int, files: Tree) -> str:
    """Return a file of goals that others have staged, and a command would commit; empty if none."""
    lists = [scheme.quota.goals for scheme in Kdamond(files).schemes]
    changed = (
        path
        for path, text in files.items()
        if any(each.holds(path) for each in lists)
        and not ((found := row(path)) and found.volatile)
        and read_or(machine, kdamond_path(slot, path), "-") != text
    )
    return next(changed, "")
