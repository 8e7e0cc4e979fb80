"""How far the goals of schemes are, for `status`: as the service saw it, or measured on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from damonpolicy.kernel.sysfs import Machine
from damonpolicy.plan.texts import goal_text
from damonpolicy.units import U64_MAX, approximate_bytes, format_percent

_UNKNOWN = {"score": None, "why": None}


def known(kdamond: dict[str, Any], service: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a kdamond of `status` with what a service that runs knows of its goals."""
    seen = service["schemes"] if service is not None and service["running"] else {}
    schemes = []
    for scheme in kdamond["schemes"]:
        more = seen.get(f"{kdamond['name']}/{scheme['name']}")
        if more is None or len(more["goals"]) != len(scheme["goals"]):
            more = {"goals": [_UNKNOWN] * len(scheme["goals"]), "score": None, "trend": None}
        goals = [
            {**goal, **each} for goal, each in zip(scheme["goals"], more["goals"], strict=True)
        ]
        schemes.append({**scheme, **more, "goals": goals})
    return {**kdamond, "schemes": schemes}


def measure(machine: Machine, kdamonds: Sequence[dict[str, Any]]) -> None:
    """Measure what takes a moment only; what the service knows of the rest stays."""
    # the modules that fetch numbers from elsewhere are slow to import
    from damonpolicy.tuning.goals import GoalMeter, score
    from damonpolicy.tuning.sources import Stale

    for kdamond in kdamonds:
        for scheme in kdamond["schemes"]:
            for goal in scheme["goals"]:
                try:
                    if goal["metric"] != "user_input":
                        goal["current"] = GoalMeter(
                            machine, goal["metric"], node=goal["node"] or 0,
                            cgroup=goal["cgroup"] or "", complement=goal["complement"],
                        ).read()  # fmt: skip
                except Stale as error:
                    goal["why"] = goal["why"] or (str(error) if goal["current"] is None else None)
                    continue
                goal["why"], goal["score"] = None, score(goal["current"], goal["target"])
            scores = [goal["score"] for goal in scheme["goals"]]
            scheme["score"] = max(scores) if scores and None not in scores else None


def goal_lines(scheme: Mapping[str, Any], *, fresh: bool) -> list[str]:
    """Say how far each goal is, and after the last what came of it; ``fresh``: just asked for."""
    lines = [_goal(goal) for goal in scheme["goals"]]
    quota = scheme["effective_quota"]
    if lines and fresh and quota is not None:
        size = "unlimited" if quota >= U64_MAX else approximate_bytes(quota)
        trend = f", {scheme['trend']}" if scheme["trend"] else ""
        lines[-1] += f", quota in effect {size}{trend}"
    return lines


def _goal(goal: Mapping[str, Any]) -> str:
    metric = goal["metric"]
    where = "" if goal["node"] is None else f" of node {goal['node']}"
    where += f" for {goal['cgroup']}" if goal["cgroup"] else ""
    target = goal_text(goal["target"], metric)
    if goal["current"] is None:
        why = f" (not known: {goal['why']})" if goal["why"] else ""
        return f"goal {metric}{where}: {target}{why}"
    score = ""
    if goal["score"] is not None:
        score = f" (score {format_percent(Fraction(goal['score'], 10_000))})"
    return f"goal {metric}{where}: {goal_text(goal['current'], metric)} of {target}{score}"
