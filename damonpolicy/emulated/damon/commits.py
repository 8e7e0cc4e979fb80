"""Staged changes that a commit ignores on some kernels (damon_commit_ctx()).

Each is a row of `kernel.damon.quirks`; the files were found on real kernels
(tests/guest/effects.py).
"""

from __future__ import annotations

from typing import Any

from damonpolicy.emulated.damon.monitor import period
from damonpolicy.emulated.damon.quotas import goals
from damonpolicy.emulated.damon.table import inside, look, put
from damonpolicy.emulated.world import World
from damonpolicy.kernel.damon.view import Goal, Kdamond, Scheme

__all__ = ("changed_types", "keep", "keep_goals", "limit", "wait")

_NOWHERE = "-1"
"""The node of a goal without one: uninitialised memory, so almost never a real node."""


def keep(world: World, ran: Kdamond, runs: Kdamond) -> None:
    """Restore the values that the commit ignored in ``runs``, the running copy."""
    before = list(map(goals, ran.schemes))
    for place, scheme in enumerate(runs.schemes):
        keep_goals(world, before[place] if place < len(before) else [], scheme)


def keep_goals(world: World, before: list[Goal], runs: Scheme) -> None:
    """Keep the nodes of goals on eligible memory, and leave new goals without a fed value.

    They are matched by their position among those with a target
    (damos_commit_quota_goals(), damos_commit_quota_goal_union()).
    """
    for place, goal in enumerate(goals(runs)):
        metric, new = goal.metric.text, place >= len(before)
        if metric == "node_eligible_mem_bp" and world.profile.quirk("commit.eligible"):
            put(goal.node, _NOWHERE if new else before[place].node.text)
        if metric == "user_input" and new and world.profile.quirk("commit.unfed"):
            put(goal.current, 0)


def wait(world: World, running: dict[str, Any], staged: Kdamond) -> None:
    """Keep the next time of schemes, or set it to a whole new interval.

    The latter if attributes of the monitoring change (damon_set_attrs()).
    """
    runs = look(running["tree"])
    changed = any(
        inside(one) != inside(other)
        for one, other in (
            (runs.intervals, staged.intervals), (runs.region_count, staged.region_count),
        )
    )  # fmt: skip
    aggregations = int(running["aggr"]), staged.intervals.aggregation.number
    pairs = zip(runs.schemes, staged.schemes, strict=False)
    for state, schemes in zip(running["schemes"], pairs, strict=False):
        if changed or not world.profile.quirk("commit.waits"):
            state["at"] = world.now()
        else:
            before, after = map(period, schemes, aggregations)
            state["at"] += before - after


def limit(world: World, running: dict[str, Any], staged: Kdamond) -> None:
    """Keep the least number of regions until the next update of regions.

    Before 7.1 it is computed only then (kdamond_fn()); changed attributes set the time.
    """
    old, new = look(running["tree"]).region_count.min.number, staged.region_count.min.number
    if old != new and world.profile.quirk("commit.fewest" if new > old else "commit.fewer"):
        running["least"] = (old, world.now() + staged.intervals.update.number / 1e6)
    else:
        running.pop("least", None)


def changed_types(world: World, ran: Kdamond, runs: Kdamond) -> str:
    """Return why changed sample filters would wreck the kernel, or an empty text."""
    pairs = zip(ran.sample.filters, runs.sample.filters, strict=False)
    changed = any(one.type.text != other.type.text for one, other in pairs)
    bad = changed and world.profile.quirk("sample.type")
    return "a commit that changes the type of a sample filter" if bad else ""
