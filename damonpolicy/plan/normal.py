"""Normalisation of trees whose files differ but mean the same to the kernel.

Other programs write numbers that do not bind: damo writes 2⁶⁴-1 microseconds in aggregations for an
unlimited age, and 2⁶⁴-1 ms for the window of a quota that limits nothing.
"""

from __future__ import annotations

from damonpolicy.base.units import U32_MAX
from damonpolicy.kernel.damon.bounds import bounds_no_age, bounds_no_rate
from damonpolicy.kernel.damon.tree import Tree

__all__ = ("in_effect", "limits_nothing", "unbounded")

_SCHEMES = "contexts/0/schemes"
_INTERVALS = "contexts/0/monitoring_attrs/intervals"
_LIMITS = ("bytes", "ms", "goals/nr_goals")
_INERT = ("reset_interval_ms", "weights/sz_permil", "weights/nr_accesses_permil",
          "weights/age_permil")  # fmt: skip
"""Files that only describe how a limit is enforced."""


def limits_nothing(tree: Tree, quota: str) -> bool:
    """Return whether the quota in a directory has neither limits nor goals.

    Source: mm/damon/core.c: damos_adjust_quota() returns before it looks at anything else.
    """
    return all(tree.get(f"{quota}/{name}", "0") == "0" for name in _LIMITS)


def unbounded(tree: Tree, path: str) -> bool:
    """Return whether an upper bound of a rate or age in a slot's tree excludes nothing."""
    value = int(tree.get(path, "0"))
    sample, aggregation = (int(tree.get(f"{_INTERVALS}/{n}_us", "0")) for n in ("sample", "aggr"))
    if value <= U32_MAX:
        return value == U32_MAX
    if path.endswith("/age/max"):
        return bounds_no_age(value, aggregation)
    return bounds_no_rate(value, max(aggregation // max(sample, 1), 1))


def in_effect(tree: Tree) -> dict[str, str]:
    """Return a slot's tree in which bounds and limits without effect always have one form."""
    result = dict(tree)
    for index in range(int(tree.get(f"{_SCHEMES}/nr_schemes", "0"))):
        base = f"{_SCHEMES}/{index}"
        for name in ("nr_accesses", "age"):
            path = f"{base}/access_pattern/{name}/max"
            if path in result and unbounded(tree, path):
                result[path] = str(U32_MAX)
        if limits_nothing(tree, f"{base}/quotas"):
            for name in _INERT:
                if f"{base}/quotas/{name}" in result:
                    result[f"{base}/quotas/{name}"] = "0"
    return result
