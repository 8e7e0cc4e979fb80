"""Progress of the goals of schemes and of loops, for `status`: as the service saw it, or now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from damonpolicy.base.units import U64_MAX, approximate_bytes, format_percent
from damonpolicy.kernel.damon.view import Kdamond, Scheme
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.observe.status.schemes import goal_words
from damonpolicy.plan.loops import value
from damonpolicy.plan.state import Managed

_UNKNOWN = {"score": None, "why": None}
_NOBODY = "no service runs that would feed it"
_UNMOVED = "no service runs that would move it"


def unfed(managed: Managed, service: Mapping[str, Any] | None) -> dict[str, str]:
    """Return why goals that a service feeds are not fed, by kdamond and directory."""
    if service is not None and service["running"]:
        return dict(service["feeds"])
    return {
        f"{kdamond.full_name}/{feed.goal}": _NOBODY
        for policy in managed.policies.values()
        for kdamond in policy.kdamonds
        for feed in kdamond.feeds
    }


def goal_name(managed: Managed, key: str) -> str:
    """Name a goal as its policy does, given its kdamond and directory: `p/k/cold goal 0`."""
    for policy in managed.policies.values():
        for kdamond in policy.kdamonds:
            for base, scheme in kdamond.names.items():
                start = f"{kdamond.full_name}/{Scheme(path=base).quota.goals.path}/"
                if key.startswith(start):
                    return f"{kdamond.full_name}/{scheme} goal {key.removeprefix(start)}"
    return key


def known(
    kdamond: dict[str, Any], service: Mapping[str, Any] | None, why_not: Mapping[str, str]
) -> dict[str, Any]:
    """Return a kdamond of `status` with what a running service knows about its goals.

    ``why_not`` has the goals that are not fed, with the reason: their file holds a value that
    counts as reached, which nobody has measured.
    """
    seen = service["schemes"] if service is not None and service["running"] else {}
    schemes = []
    for number, scheme in enumerate(kdamond["schemes"]):
        more = seen.get(f"{kdamond['name']}/{scheme['name']}")
        if more is None or len(more["goals"]) != len(scheme["goals"]):
            more = {"goals": [_UNKNOWN] * len(scheme["goals"]), "score": None, "trend": None}
        goals = []
        for index, (goal, each) in enumerate(zip(scheme["goals"], more["goals"], strict=True)):
            place = Kdamond().schemes[number].quota.goals[index].path
            goals.append(_united(goal, each, why_not.get(f"{kdamond['name']}/{place}", "")))
        if any(not goal["fed"] for goal in goals):
            more = {**more, "score": None}
        schemes.append({**scheme, **more, "goals": goals})
    return {**kdamond, "schemes": schemes}


def _united(goal: Mapping[str, Any], seen: Mapping[str, Any], unfed: str) -> dict[str, Any]:
    """Return a goal with what the service saw; a number that the kernel was given is its file's."""
    if unfed:
        return {**goal, "current": None, "score": None, "why": unfed, "fed": False}
    given = goal["current"]
    if given is None or seen["score"] is None:
        return {**goal, **seen, "current": given if given is not None else seen.get("current"),
                "fed": True}  # fmt: skip
    # as `tuning.goals.score`, which is slow to import
    score = given * 10_000 // goal["target"] if goal["target"] else 0
    return {**goal, "score": score, "why": None, "fed": True}


def measure(machine: Machine, kdamonds: Sequence[dict[str, Any]]) -> None:
    """Measure the goals that take only a moment; keep what the service knows about the others."""
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
                    elif not goal["fed"]:
                        continue
                except Stale as error:
                    goal["why"] = goal["why"] or (str(error) if goal["current"] is None else None)
                    continue
                goal["why"], goal["score"] = None, score(goal["current"], goal["target"])
            scores = [goal["score"] for goal in scheme["goals"]]
            scheme["score"] = max(scores) if scores and None not in scores else None


def goal_lines(scheme: Mapping[str, Any], *, fresh: bool) -> list[str]:
    """Return a line per goal, and one for the result; ``fresh``: just requested."""
    lines = [_goal(goal) for goal in scheme["goals"]]
    quota = scheme["effective_quota"]
    if lines and fresh and quota is not None:
        size = "unlimited" if quota >= U64_MAX else approximate_bytes(quota)
        trend = f", {scheme['trend']}" if scheme["trend"] else ""
        lines[-1] += f", quota in effect {size}{trend}"
    if len(lines) > 1:
        lines.append("of several goals the one with the highest score decides")
    return lines


def _goal(goal: Mapping[str, Any]) -> str:
    more = ""
    if not goal["fed"]:
        more = f" (not fed, so it counts as reached: {goal['why']})"
    elif goal["current"] is None:
        more = f" (not known: {goal['why']})" if goal["why"] else ""
    elif goal["score"] is not None:
        more = f" (score {format_percent(goal['score'], 10_000)})"
    return goal_words(goal) + more


def loops(managed: Managed, service: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return each loop: what it moves, the value, its error, and the reason if it does not move.

    ``error`` is a share: above 0, the measured value is too small; None if unknown.
    """
    running = service if service is not None and service["running"] else None
    found = []
    for policy in managed.policies.values():
        for loop in policy.loops:
            name = f"{policy.name}/{loop.name}"
            why = _UNMOVED if running is None else running["loops"].get(name)
            found.append(
                {
                    "loop": name,
                    "kdamond": f"{policy.name}/{loop.kdamond}" if loop.kdamond else None,
                    "path": loop.path,
                    "value": value(policy, loop),
                    "target": "target" in loop.law or "targets" in loop.law,
                    # an older service does not report it
                    "error": running.get("errors", {}).get(name) if running else None,
                    "why": why,
                }
            )
    return found


def loop_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return one line for each loop."""
    for each in found:
        what = f"{each['path']}{' of ' + each['kdamond'] if each['kdamond'] else ''}"
        yield f"{each['loop']}: {what} is {each['value']}{_how(each)}"


def _how(each: Mapping[str, Any]) -> str:
    if each["why"]:
        return f", stands still: {each['why']}"
    error = each["error"]
    if error is None:
        return ""
    share = f"{abs(error):.0%}"
    if share == "0%":
        return ", at its target"
    if each["target"]:
        return f", measures {share} too {'little' if error > 0 else 'much'}"
    return f", on its way: {share} from where it goes"
