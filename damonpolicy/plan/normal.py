"""Normalisation of trees whose files differ but mean the same to the kernel.

Other programs write numbers that do not bind: damo writes 2⁶⁴-1 microseconds in aggregations for an
unlimited age, and 2⁶⁴-1 ms for the window of a quota that limits nothing.
"""

from __future__ import annotations

from damonpolicy.base.units import U32_MAX
from damonpolicy.kernel.damon.bounds import bounds_no_age, bounds_no_rate
from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.schema import row
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.damon.view import Kdamond, Quota

__all__ = ("in_effect", "limits_nothing", "unbounded")


def limits_nothing(tree: Tree, quota: str) -> bool:
    """Return whether the quota in a directory has neither limits nor goals.

    Source: mm/damon/core.c: damos_adjust_quota() returns before it looks at anything else.
    """
    here = Quota(tree, quota)
    return here.size.text == here.time.text == here.goals.count.text == "0"


def unbounded(tree: Tree, path: str) -> bool:
    """Return whether an upper bound of a rate or age in a slot's tree excludes nothing."""
    value, intervals = File(tree, path).number, Kdamond(tree).intervals
    sample, aggregation = intervals.sample.number, intervals.aggregation.number
    if value <= U32_MAX:
        return value == U32_MAX
    found = row(path)
    if found is not None and found.unit == "aggregations":
        return bounds_no_age(value, aggregation)
    return bounds_no_rate(value, max(aggregation // max(sample, 1), 1))


def in_effect(tree: Tree) -> dict[str, str]:
    """Return a slot's tree in which bounds and limits without effect always have one form."""
    result = dict(tree)
    for scheme in Kdamond(tree).schemes:
        pattern, quota, weights = scheme.access_pattern, scheme.quota, scheme.quota.weights
        for most in (pattern.access_rate.max, pattern.age.max):
            if most.present and unbounded(tree, most.path):
                result[most.path] = str(U32_MAX)
        if limits_nothing(tree, quota.path):
            # these only describe how a limit is enforced
            inert = (quota.every, weights.size, weights.access_rate, weights.age)
            result |= {each.path: "0" for each in inert if each.present}
    return result
