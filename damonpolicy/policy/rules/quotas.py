"""Rules on quotas and goals."""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.units import UnitError
from damonpolicy.kernel.damon.actions import MOVING, traits
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.quotas import METRICS, UNLIMITED, Goal, Quota, read_target
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.hints import bare_number
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import sources
from damonpolicy.policy.rules.rule import rule

__all__ = ("check",)


@rule
def check(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Yield the errors in a scheme's quota."""
    place = at("quota")
    yield from _unlimited(scheme, place, at)
    if isinstance(scheme.quota, Quota):
        quota = scheme.quota
        yield from _zeros(quota, place)
        yield from _fineness(quota, place)
        yield from _every(quota, place)
        yield from _goals_without(scheme, quota, place)
        yield from _fail_charge(quota, place)
        yield from _weights(quota, place)
        yield from _weights_ignored(quota, scheme, kdamond, place)
        yield from _unsized(quota, scheme, kdamond, place, Cursor(at.read, at.path[:-2]))
        yield from _goals(quota, kdamond, place)


@rule
def _unlimited(scheme: Scheme, place: Cursor, at: Cursor) -> Iterator[Diagnostic]:
    quota = scheme.quota
    if quota is None:
        if scheme.action in MOVING and not place.lost:
            yield Diagnostic.error(
                "DP0217",
                at("action").value,
                f"`{scheme.action}` moves memory and has no quota",
                hint="add `quota: {size: 200MiB, every: 1s}`, or `quota: unlimited`",
            )
    elif (
        isinstance(quota, Quota)
        and not quota.model_fields_set - {"weights", "every", "fail_charge"}
        and not place.lost
    ):
        message = "`quota` limits nothing"
        hint = "give `size` or `time` with `every`, or write `quota: unlimited`"
        yield Diagnostic.error("DP0217", place.value, message, hint=hint)


@rule
def _zeros(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    for name in ("size", "time", "every"):
        if quota.known(name) == 0:
            message = f"`{name}: 0` means unlimited to the kernel"
            hint = "leave it out, or write `quota: unlimited`"
            if name == "every":
                hint = "write `every: 1s`"
            elif name == "size" and quota.known("goals"):
                hint = "write the most in each `every`, such as `size: 200MiB`"
            yield Diagnostic.error("DP0219", at(name).value, message, hint=hint)


@rule
def _fineness(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    for name in ("time", "every"):
        value = quota.known(name)
        if value and value % 1_000:
            message = f"`{name}` is a whole number of milliseconds"
            hint = f"write `{max(value // 1_000, 1)}ms`"
            yield Diagnostic.error("DP0250", at(name).value, message, hint=hint)


@rule
def _every(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    known = quota.known  # one limit is enough
    sized = known("size") not in (None, UNLIMITED)
    limited = sized or known("time") is not None or known("goals")
    if limited and quota.every is None:
        message = "the quota does not say for how long it is"
        yield Diagnostic.error("DP0245", at.value, message, hint="add `every: 1s`")


@rule
def _goals_without(scheme: Scheme, quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    yield from _tuner(quota, at)
    if scheme.action == "stat":
        return  # it only counts, so no limit does no harm
    if quota.goals and quota.size is None:
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


@rule
def _tuner(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    if quota.tuner is not None and not quota.goals and not at("goals").lost:
        message = "`tuner` has no goal to tune toward"
        yield Diagnostic.error("DP0233", at("tuner").key, message, hint="add `goals:`")


@rule
def _fail_charge(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    if quota.fail_charge and quota.fail_charge.numerator > quota.fail_charge.denominator:
        message = "`fail_charge` is above 1: failures would cost more than successes"
        yield Diagnostic.error(
            "DP0119", at("fail_charge").value, message, hint="write `1/1` or less"
        )


@rule
def _weights(quota: Quota, at: Cursor) -> Iterator[Diagnostic]:
    weights = quota.weights
    if weights is not None and not (weights.size or weights.access_rate or weights.age):
        message = "all weights are 0, so the quota would not choose at all"
        hint = "give at least one a weight, or leave `weights` out"
        yield Diagnostic.warning("DP0232", at("weights").value, message, hint=hint)


@rule
def _unsized(
    quota: Quota, scheme: Scheme, kdamond: Kdamond, at: Cursor, around: Cursor
) -> Iterator[Diagnostic]:
    """Report weights on sizes.

    The kernel's order ignores sizes (mm/damon/ops-common.c: damon_hot_score()).
    """
    ours = quota.weights is not None
    weights = quota.weights if ours else kdamond.temperature
    if weights is None or not weights.size or not (ours or quota.every):
        return
    if not traits(kdamond.ops, scheme.action).priority:
        return
    place = at("weights", "size") if ours else around("temperature", "size")
    if not (weights.access_rate or weights.age):
        message = "the kernel weighs no sizes, so the quota would not choose at all"
        hint = "give `access_rate` or `age` a weight"
        if not ours:
            hint += ", or the quota `weights` of its own"
        yield Diagnostic.error("DP0263", place.value, message, hint=hint)
    elif ours:
        message = "the kernel weighs no sizes: `size` is ignored"
        yield Diagnostic.warning("DP0232", place.value, message, hint="leave it out")


@rule
def _weights_ignored(
    quota: Quota, scheme: Scheme, kdamond: Kdamond, at: Cursor
) -> Iterator[Diagnostic]:
    known = traits(kdamond.ops, scheme.action)
    if quota.weights is not None and known.works and not known.priority:
        yield Diagnostic.warning(
            "DP0232",
            at("weights").key,
            f"`{scheme.action}` on `{kdamond.ops}` ignores weights",
            hint="the kernel takes its regions in address order",
        )


@rule
def _goals(quota: Quota, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    for index, goal in enumerate(quota.goals):
        place = at("goals", index)
        yield from _target(goal, place("target"))
        yield from _keys(goal, place)
        yield from _source(goal, place("from"))
        yield from _eligible(goal, kdamond, place("metric"))
        same = [other for other in quota.goals[:index] if other == goal]
        if same:
            message = "this goal appears twice"
            yield Diagnostic.error("DP0223", place.value, message, hint="remove one of them")


@rule
def _source(goal: Goal, at: Cursor) -> Iterator[Diagnostic]:
    if goal.from_ is not None:
        yield from sources.check(goal.from_, at)


@rule
def _eligible(goal: Goal, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    if goal.metric == "node_eligible_mem_bp" and kdamond.ops != "paddr":
        message = f"`node_eligible_mem_bp` is always 0 on `{kdamond.ops}`"
        yield Diagnostic.error("DP0231", at.value, message, hint="it needs `ops: paddr`")


@rule
def _target(goal: Goal, at: Cursor) -> Iterator[Diagnostic]:
    try:
        target = read_target(goal)
    except UnitError as error:
        unit = goal.metric.rpartition("_")[2]
        hint = bare_number(unit, goal.target, error.hint) if error.code == "DP0121" else error.hint
        yield Diagnostic.error(error.code, at.value, error.message, hint=hint)
        return
    if target == 0:
        message = "a goal of 0 is refused by kernels, or ignored"
        yield Diagnostic.error("DP0211", at.value, message, hint="write the smallest real target")


@rule
def _keys(goal: Goal, at: Cursor) -> Iterator[Diagnostic]:
    needed = METRICS[goal.metric]
    given = {
        name.removesuffix("_")
        for name in ("node", "cgroup", "from_")
        if name in goal.model_fields_set
    }
    for name in sorted(needed - given - {"from"}):
        message = f"`{goal.metric}` does not say which {name}"
        yield Diagnostic.error("DP0231", at("metric").value, message, hint=f"add `{name}:`")
    if goal.known("complement") and not goal.metric.endswith("_bp"):
        message = f"`{goal.metric}` is not a share, and has no complement"
        hint = "remove `complement`"
        yield Diagnostic.error("DP0231", at("complement").key, message, hint=hint)
    for name in sorted(given - needed):
        message = f"`{goal.metric}` takes no `{name}`"
        yield Diagnostic.error("DP0231", at(name).key, message, hint=f"remove `{name}`")
