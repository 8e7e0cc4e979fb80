"""What a commit leaves unchanged on some kernels, though it was staged (damon_commit_ctx()).

Each is a row of `kernel.quirks`; which files are concerned was seen on real kernels
(tests/kernel/effects.py).
"""

from __future__ import annotations

from typing import Any

from damonpolicy.emulated import quotas
from damonpolicy.emulated.table import Directory, get, number, numbered
from damonpolicy.emulated.world import World

__all__ = ("changed_types", "keep", "keep_goals", "limit", "wait")

_NOWHERE = "-1"
"""The node of a goal that was never given one: what was in memory, so almost never a real one."""


def keep(world: World, ran: Directory, runs: Directory) -> None:
    """Put back what the commit has ignored into ``runs``, the copy that runs now."""
    before = numbered(ran["schemes"])
    for place, scheme in enumerate(numbered(runs["schemes"])):
        keep_goals(world, before[place] if place < len(before) else {}, scheme)


def keep_goals(world: World, ran: Directory, runs: Directory) -> None:
    """Let goals on eligible memory keep their nodes, and leave new goals without a fed value.

    They are matched by their place among those that have a target
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
    """Let schemes be applied next when they would have been, or after a whole new interval.

    That is where attributes of the monitoring change (damon_set_attrs()).
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
    """Let the least number of regions stay until regions are updated next.

    Before 7.1 it is worked out then alone (kdamond_fn()); attributes that change set the time.
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
