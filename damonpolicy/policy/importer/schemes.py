"""Decompilation of schemes, their quotas and watermarks to the policy language."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from damonpolicy.base.units import U32_MAX, format_duration, format_percent
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.actions import ACTIONS, MOVING, Traits
from damonpolicy.kernel.damon.bounds import cut
from damonpolicy.plan.normal import limits_nothing, unbounded
from damonpolicy.policy.compile.plain import in_order, keys, plain_keys, spoken
from damonpolicy.policy.importer import filters
from damonpolicy.policy.importer.result import Decompiled
from damonpolicy.policy.model.schemes import Scheme

__all__ = ("scheme",)

_MIGRATIONS = ("migrate_hot", "migrate_cold")
_SECOND = 1_000_000


def scheme(found: Decompiled, here: view.Scheme) -> dict[str, Any]:
    """Return one scheme; without a name, it is named after its action."""
    action = here.action.text
    result: dict[str, Any] = {"name": found.names.get(here.path, action), "action": action}
    _destination(found, here, result)
    plain_keys(result, found.slot.tree.get, here.path)
    _pattern(found, here.access_pattern, result)
    _quota(found, here.quota, result)
    result |= filters.of_scheme(found, here)
    return in_order(result, Scheme)


def _destination(found: Decompiled, here: view.Scheme, result: dict[str, Any]) -> None:
    action = result["action"]
    if action not in _MIGRATIONS:
        found.remark(f"`{action}` moves nothing between nodes", here.dests, here.to)
    elif len(here.dests):
        found.remark("the kernel goes to `dests` instead", here.to)
        result["to"] = [keys(each.node, each.weight) for each in here.dests]
    else:
        result |= keys(here.to)


def _pattern(found: Decompiled, here: view.Pattern, result: dict[str, Any]) -> None:
    pattern = result.setdefault("access_pattern", {})
    if rate := _counts(found, here.access_rate, _rate):
        pattern["access_rate"] = rate
    if age := _counts(found, here.age, _age):
        pattern["age"] = age
    if not pattern:
        del result["access_pattern"]


def _counts(
    found: Decompiled, here: view.Range, say: Callable[[view.Intervals, int], str]
) -> dict[str, str]:
    """Return bounds that the kernel counts in 32 bits, cutting larger ones as it does."""
    result: dict[str, str] = {}
    for file, name in ((here.min, "min"), (here.max, "max")):
        value = file.number
        if unbounded(found.slot.tree, file.path) if name == "max" else not value:
            continue
        if value > U32_MAX:
            value = cut(value)
            found.remark(f"the kernel takes 32 bits of it: {value}", file)
        if value or name == "max":
            result[name] = say(found.slot.intervals, value)
    return result


def _rate(intervals: view.Intervals, value: int) -> str:
    samples = intervals.aggregation.number // max(intervals.sample.number, 1)
    share = Fraction(value, max(samples, 1))
    if share <= 1 and (share * 10_000).denominator == 1:
        return format_percent(share)
    return f"{value} sample{'' if value == 1 else 's'}"


def _age(intervals: view.Intervals, value: int) -> str:
    time, tuned = value * intervals.aggregation.number, intervals.auto_tune.aggregations.number
    if not tuned and time and time % _SECOND == 0 and value < U32_MAX:
        return format_duration(time)
    return f"{value} aggregation{'' if value == 1 else 's'}" if value else "0"


def _quota(found: Decompiled, here: view.Quota, result: dict[str, Any]) -> None:
    goals = [_goal(found, each) for each in here.goals]
    plain, action = result.pop("quota", {}), result["action"]
    if limits_nothing(found.slot.tree, here.path):
        found.remark("the quota limits nothing", here)
        if action in MOVING:
            result["quota"] = "unlimited"
        return
    quota: dict[str, Any] = (keys(here.size) if here.size.number else {}) | plain
    # what the compiler chooses where a policy names none
    known = ACTIONS.get(found.data["ops"], {}).get(action, Traits())
    priority = bool(here.every.number) and known.priority
    usual = {"size": 0, "access_rate": int(priority), "age": int(priority)}
    weights = keys(here.weights.size, here.weights.access_rate, here.weights.age)
    if weights != usual:
        quota["weights"] = {name: each for name, each in weights.items() if each} or weights
    if of := here.fail_charge_of.number:
        quota["fail_charge"] = f"{here.fail_charge.number}/{of}"
    else:
        found.remark("the kernel ignores it without `fail_charge_denom`", here.fail_charge)
    if goals:
        quota.setdefault("size", "unlimited")
        if here.tuner.text != here.tuner.row.default:
            quota |= keys(here.tuner)
        quota["goals"] = goals
    else:
        found.remark("there is no goal to tune toward", here.tuner)
    result["quota"] = quota


def _goal(found: Decompiled, here: view.Goal) -> dict[str, Any]:
    metric = here.metric.text
    unit = metric.rpartition("_")[2]  # `us`, `bp`, or none
    goal: dict[str, Any] = {"metric": metric, "target": spoken(unit, here.target.text)}
    for file, needed in ((here.node, metric.startswith("node_")), (here.cgroup, "memcg" in metric)):
        if needed:
            goal |= keys(file)
        else:
            found.remark(f"the kernel ignores it for `{metric}`", file)
    if here.complement.yes:
        goal |= keys(here.complement)
    found.remark("the kernel measures it by itself", here.current)
    return goal
