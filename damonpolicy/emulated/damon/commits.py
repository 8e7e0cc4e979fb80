"""Staged changes that a commit ignores on some kernels (damon_commit_ctx()).

Each is a row of `kernel.damon.quirks`; the files were found on real kernels
(tests/guest/effects.py).
"""

from __future__ import annotations

from typing import Any

from damonpolicy.emulated.damon import quotas
from damonpolicy.emulated.damon.table import Directory, get, number, numbered
from damonpolicy.emulated.world import World

__all__ = ("changed_types", "keep", "keep_goals", "limit", "wait")

_NOWHERE = "-1"
"""The node of a goal without one: uninitialised memory, so almost never a real node."""


def keep(world: World, ran: Directory, runs: Directory) -> None:
    """Restore the values that the commit ignored in ``runs``, the running copy."""
    before = numbered(ran["schemes"])
    for place, scheme in enumerate(numbered(runs["schemes"])):
        keep_goals(world, before[place] if place < len(before) else {}, scheme)


def keep_goals(world: World, ran: Directory, runs: Directory) -> None:
    """Keep the nodes of goals on eligible memory, and leave new goals without a fed value.

    They are matched by their position among those with a target
    (damos_commit_quota_goals(), damos_commit_quota_goal_union()).
    """
    before, profile = _goals(ran), world.profile
    for place, goal in enumerate(_goals(runs)):
        metric, new = get(goal, "target_metric", "user_input"), place >= len(before)
        if metric == "node_eligible_mem_bp" and profile.quirk("commit.eligible"):
            goal["nid"] = _NOWHERE if new else before[place]["nid"]
        if metric == "user_input" and new and profile.quirk("commit.unfed"):
            goal["current_value"] = "0"


def wait(world: World, running: dict[str, Any], staged: Directory) -> None:
    """Keep the next time of schemes, or set it to a whole new interval.

    The latter if attributes of the monitoring change (damon_set_attrs()).
    """
    changed = any(
        running["tree"]["monitoring_attrs"][name] != staged["monitoring_attrs"][name]
        for name in ("intervals", "nr_regions")
    )
    after = {**running, "aggr": number(staged, "monitoring_attrs/intervals/aggr_us")}
    pairs = zip(numbered(running["tree"]["schemes"]), numbered(staged["schemes"]), strict=False)
    for state, (old, new) in zip(running["schemes"], pairs, strict=False):
        if changed or not world.profile.quirk("commit.waits"):
            state["at"] = world.now()
        else:
            state["at"] += quotas.period(running, old) - quotas.period(after, new)


def limit(world: World, running: dict[str, Any], staged: Directory) -> None:
    """Keep the least number of regions until the next update of regions.

    Before 7.1 it is computed only then (kdamond_fn()); changed attributes set the time.
    """
    old, new = (
        number(each, "monitoring_attrs/nr_regions/min") for each in (running["tree"], staged)
    )
    if old != new and world.profile.quirk("commit.fewest" if new > old else "commit.fewer"):
        wait_ = number(staged, "monitoring_attrs/intervals/update_us") / 1e6
        running["least"] = (old, world.now() + wait_)
    else:
        running.pop("least", None)


def changed_types(world: World, ran: Directory, runs: Directory) -> str:
    """Return why changed sample filters would wreck the kernel, or an empty text."""
    if not world.profile.quirk("sample.type"):
        return ""
    old, new = (
        [each["type"] for each in numbered(tree["monitoring_attrs"]["sample"]["filters"])]
        for tree in (ran, runs)
    )
    changed = any(one != other for one, other in zip(old, new, strict=False))
    return "a commit that changes the type of a sample filter" if changed else ""


def _goals(scheme: Directory) -> list[Directory]:
    goals = numbered(scheme.get("quotas", {}).get("goals", {}))
    return [each for each in goals if number(each, "target_value")]
