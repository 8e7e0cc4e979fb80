"""Rules on quotas and goals."""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.diagnostics import Diagnostic
from damonpolicy.model.actions import MOVING, traits
from damonpolicy.model.kdamond import Kdamond
from damonpolicy.model.quotas import METRICS, UNLIMITED, Goal, Quota, read_target
from damonpolicy.model.read import Cursor
from damonpolicy.model.rules import sources
from damonpolicy.model.schemes import Scheme
from damonpolicy.units import UnitError

__all__ = ("check",)


def check(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Yield what is wrong with a scheme's quota."""
    place = at("quota")
    if scheme.quota is None:
        if scheme.action in MOVING and not place.lost:
            yield Diagnostic.error(
                "DP0217",
                at("action").value,
                f"`{scheme.action}` moves memory and has no quota",
                hint="add `quota: {size: 200MiB, every: 1s}`, or `quota: unlimited`",
            )
        return
    if not isinstance(scheme.quota, Quota):
        return
    quota = scheme.quota
    if not quota.model_fields_set - {"weights", "every", "fail_charge"} and not place.lost:
        message = "`quota` limits nothing"
        hint = "give `size` or `time` with `every`, or write `quota: unlimited`"
        yield Diagnostic.error("DP0217", place.value, message, hint=hint)
    yield from _limits(quota, place)
    yield from _weights(quota, scheme, kdamond, place)
    yield from _goals(quota, kdamond, place)


def _limits(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    for name in ("size", "time", "every"):
        if getattr(quota, name) == 0:
            message = f"`{name}: 0` means unlimited to the kernel"
            hint = "leave it out, or write `quota: unlimited`"
            if name == "every":
                hint = "write `every: 1s`"
            elif name == "size" and quota.goals:
                hint = "write the most in each `every`, such as `size: 200MiB`"
            yield Diagnostic.error("DP0219", at(name).value, message, hint=hint)
    for name in ("time", "every"):
        value = getattr(quota, name)
        if value and value % 1_000:
            message = f"`{name}` is a whole number of milliseconds"
            hint = f"write `{max(value // 1_000, 1)}ms`"
            yield Diagnostic.error("DP0250", at(name).value, message, hint=hint)
    sized = quota.size is not None and quota.size != UNLIMITED
    limited = sized or quota.time is not None or quota.goals
    if limited and quota.every is None and not at("every").lost:
        message = "the quota does not say for how long it is"
        yield Diagnostic.error("DP0245", at.value, message, hint="add `every: 1s`")
    if quota.goals and quota.size is None and not at("size").lost:
        yield Diagnostic.error(
            "DP0218",
            at("goals").key,
            "goals without `size` could tune the quota up without end",
            hint="add `size:`, the most in each `every`",
        )
    if quota.goals and quota.size == UNLIMITED:
        message = "goals could tune this quota up without end"
        hint = "name the most in each `every`, such as `size: 200MiB`"
        yield Diagnostic.warning("DP0218", at("size").value, message, hint=hint)
    if quota.tuner is not None and not quota.goals and not at("goals").lost:
        message = "`tuner` has no goal to tune toward"
        yield Diagnostic.error("DP0233", at("tuner").key, message, hint="add `goals:`")
    if quota.fail_charge and quota.fail_charge.numerator > quota.fail_charge.denominator:
        message = "`fail_charge` is above 1: failures would cost more than successes"
        yield Diagnostic.error(
            "DP0119", at("fail_charge").value, message, hint="write `1/1` or less"
        )


def _weights(quota: Quota, scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    if quota.weights is None:
        return
    weights = quota.weights
    lost = at("weights").lost
    if not (weights.size or weights.access_rate or weights.age or lost):
        message = "all weights are 0, so the quota would not choose at all"
        hint = "give at least one a weight, or leave `weights` out"
        yield Diagnostic.warning("DP0232", at("weights").value, message, hint=hint)
    known = traits(kdamond.ops, scheme.action)
    if known.works and not known.priority:
        yield Diagnostic.warning(
            "DP0232",
            at("weights").key,
            f"`{scheme.action}` on `{kdamond.ops}` ignores weights",
            hint="the kernel takes its regions in address order",
        )


def _goals(quota: Quota, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    for index, goal in enumerate(quota.goals):
        place = at("goals", index)
        yield from _target(goal, place("target"))
        yield from _keys(goal, place)
        if goal.from_ is not None:
            yield from sources.check(goal.from_, place("from"))
        if goal.metric == "node_eligible_mem_bp" and kdamond.ops != "paddr":
            message = f"`node_eligible_mem_bp` is always 0 on `{kdamond.ops}`"
            hint = "it needs `ops: paddr`"
            yield Diagnostic.error("DP0231", place("metric").value, message, hint=hint)
        same = [other for other in quota.goals[:index] if other == goal]
        if same:
            message = "this goal stands twice"
            yield Diagnostic.error("DP0223", place.value, message, hint="remove one of them")


def _target(goal: Goal, at: Cursor) -> Iterator[Diagnostic]:
    try:
        target = read_target(goal)
    except UnitError as error:
        yield Diagnostic.error(error.code, at.value, error.message, hint=error.hint)
        return
    if target == 0:
        message = "a goal of 0 is refused by kernels, or ignored"
        yield Diagnostic.error("DP0211", at.value, message, hint="write the smallest real target")


def _keys(goal: Goal, at: Cursor) -> Iterator[Diagnostic]:
    needed = METRICS[goal.metric]
    given = {
        name
        for name, value in (("node", goal.node), ("cgroup", goal.cgroup), ("from", goal.from_))
        if value is not None
    }
    for name in sorted(needed - given - {"from"}):
        if not at(name).lost:
            message = f"`{goal.metric}` does not say which {name}"
            yield Diagnostic.error("DP0231", at("metric").value, message, hint=f"add `{name}:`")
    if goal.complement and not goal.metric.endswith("_bp"):
        message = f"`{goal.metric}` is no share, and has no complement"
        hint = "remove `complement`"
        yield Diagnostic.error("DP0231", at("complement").key, message, hint=hint)
    for name in sorted(given - needed):
        message = f"`{goal.metric}` takes no `{name}`"
        yield Diagnostic.error("DP0231", at(name).key, message, hint=f"remove `{name}`")
