"""Decompilation of schemes, their quotas and watermarks to the policy language."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from damonpolicy.base.units import U32_MAX, format_bytes, format_duration, format_percent
from damonpolicy.kernel.damon.actions import ACTIONS, MOVING, Traits
from damonpolicy.kernel.damon.bounds import cut
from damonpolicy.plan.normal import limits_nothing, unbounded
from damonpolicy.policy.compile.plain import in_order, plain_keys
from damonpolicy.policy.importer import filters
from damonpolicy.policy.importer.result import Decompiled
from damonpolicy.policy.model.schemes import Scheme

__all__ = ("scheme",)

_CONTEXT = "contexts/0"
_MIGRATIONS = ("migrate_hot", "migrate_cold")
_SECOND = 1_000_000


def scheme(found: Decompiled, index: int) -> dict[str, Any]:
    """Return one scheme; without a name, it is named after its action."""
    base = f"{_CONTEXT}/schemes/{index}"
    action = found.text(f"{base}/action", "stat")
    result: dict[str, Any] = {"name": found.names.get(base, action), "action": action}
    _destination(found, base, action, result)
    plain_keys(result, found.text, base)
    _pattern(found, base, result)
    _quota(found, base, action, result)
    _filters(found, base, action, result)
    return in_order(result, Scheme)


def _destination(found: Decompiled, base: str, action: str, result: dict[str, Any]) -> None:
    count, single = found.number(f"{base}/dests/nr_dests"), found.number(f"{base}/target_nid")
    if action not in _MIGRATIONS:
        found.remark(f"{base}/dests", f"`{action}` moves nothing between nodes")
        found.remark(f"{base}/target_nid", f"`{action}` moves nothing between nodes")
        return
    if count:
        found.remark(f"{base}/target_nid", "the kernel goes to `dests` instead")
        result["to"] = [
            {
                "node": found.number(f"{base}/dests/{each}/id"),
                "weight": found.number(f"{base}/dests/{each}/weight"),
            }
            for each in range(count)
        ]
    else:
        result["to"] = single


def _pattern(found: Decompiled, base: str, result: dict[str, Any]) -> None:
    here = f"{base}/access_pattern"
    size = result.get("access_pattern", {}).get("size", {})
    rate = _counts(found, f"{here}/nr_accesses", _rate)
    age = _counts(found, f"{here}/age", _age)
    pattern = {"size": size, "access_rate": rate, "age": age}
    if any(pattern.values()):
        result["access_pattern"] = {name: each for name, each in pattern.items() if each}


def _intervals(found: Decompiled) -> tuple[int, int]:
    """Return the samples of an aggregation, and its microseconds."""
    base = f"{_CONTEXT}/monitoring_attrs/intervals"
    sample, aggregation = (found.number(f"{base}/{name}_us") for name in ("sample", "aggr"))
    return max(aggregation // max(sample, 1), 1), aggregation


def _counts(found: Decompiled, base: str, say: Callable[[Decompiled, int], str]) -> dict[str, str]:
    """Return bounds that the kernel counts in 32 bits, cutting larger ones as it does."""
    result: dict[str, str] = {}
    for name in ("min", "max"):
        value = found.number(f"{base}/{name}")
        if unbounded(found.tree, f"{base}/{name}") if name == "max" else not value:
            continue
        if value > U32_MAX:
            value = cut(value)
            found.remark(f"{base}/{name}", f"the kernel takes 32 bits of it: {value}")
        if value or name == "max":
            result[name] = say(found, value)
    return result


def _rate(found: Decompiled, value: int) -> str:
    share = Fraction(value, _intervals(found)[0])
    if share <= 1 and (share * 10_000).denominator == 1:
        return format_percent(share)
    return f"{value} sample{'' if value == 1 else 's'}"


def _age(found: Decompiled, value: int) -> str:
    time = value * _intervals(found)[1]
    tuned = found.number(f"{_CONTEXT}/monitoring_attrs/intervals/intervals_goal/aggrs")
    if not tuned and time and time % _SECOND == 0 and value < U32_MAX:
        return format_duration(time)
    return f"{value} aggregation{'' if value == 1 else 's'}" if value else "0"


def _quota(found: Decompiled, base: str, action: str, result: dict[str, Any]) -> None:
    here = f"{base}/quotas"
    goals = [
        _goal(found, f"{here}/goals/{n}") for n in range(found.number(f"{here}/goals/nr_goals"))
    ]
    size, every = (found.number(f"{here}/{name}") for name in ("bytes", "reset_interval_ms"))
    plain = result.pop("quota", {})
    quota: dict[str, Any] = {"size": format_bytes(size)} if size else {}
    weights = {
        ours: found.number(f"{here}/weights/{name}_permil")
        for ours, name in (("size", "sz"), ("access_rate", "nr_accesses"), ("age", "age"))
    }
    if limits_nothing(found.tree, here):
        found.remark(here, "the quota limits nothing")
        if action in MOVING:
            result["quota"] = "unlimited"
        return
    quota |= plain
    # what the compiler chooses where a policy names none
    known = ACTIONS.get(found.data["ops"], {}).get(action, Traits())
    priority = bool(every) and known.priority
    usual = {"size": 0, "access_rate": int(priority), "age": int(priority)}
    if weights != usual:
        quota["weights"] = {name: each for name, each in weights.items() if each} or weights
    if denominator := found.number(f"{here}/fail_charge_denom"):
        quota["fail_charge"] = f"{found.number(f'{here}/fail_charge_num')}/{denominator}"
    else:
        found.remark(f"{here}/fail_charge_num", "the kernel ignores it without `fail_charge_denom`")
    if goals:
        quota.setdefault("size", "unlimited")
        if found.text(f"{here}/goal_tuner", "consist") != "consist":
            quota["tuner"] = found.text(f"{here}/goal_tuner")
        quota["goals"] = goals
    else:
        found.remark(f"{here}/goal_tuner", "there is no goal to tune toward")
    result["quota"] = quota


def _goal(found: Decompiled, base: str) -> dict[str, Any]:
    metric = found.text(f"{base}/target_metric", "user_input")
    value = found.number(f"{base}/target_value")
    goal: dict[str, Any] = {"metric": metric}
    if metric.endswith("_us"):
        goal["target"] = format_duration(value)
    elif metric.endswith("_bp"):
        goal["target"] = format_percent(Fraction(value, 10_000))
    else:
        goal["target"] = value
    if metric.startswith("node_"):
        goal["node"] = found.number(f"{base}/nid")
    else:
        found.remark(f"{base}/nid", f"the kernel ignores it for `{metric}`")
    if "memcg" in metric:
        goal["cgroup"] = found.text(f"{base}/path")
    else:
        found.remark(f"{base}/path", f"the kernel ignores it for `{metric}`")
    if found.text(f"{base}/complement") == "Y":
        goal["complement"] = True
    found.remark(f"{base}/current_value", "the kernel measures it by itself")
    return goal


def _filters(found: Decompiled, base: str, action: str, result: dict[str, Any]) -> None:
    listed, together = filters.of_scheme(found, base)
    if together:
        result["filters_in"] = "filters"
    if listed:
        result["filters"] = listed
    if action == "pageout" and found.data["ops"] == "paddr":
        types = [key for each in listed for key in each.values()]
        if "young" not in types and {"not": "young"} not in types:
            result["young"] = "last"
