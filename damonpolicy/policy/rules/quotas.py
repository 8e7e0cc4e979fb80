"""Rules on quotas and goals."""

from __future__ import annotations

from damonpolicy.base.units import UnitError
from damonpolicy.kernel.damon.actions import MOVING, traits
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.quotas import METRICS, UNLIMITED, Goal, Quota, read_target
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.hints import bare_number
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import Findings, Rules, rule
from damonpolicy.policy.rules.tuning import check_source

__all__ = ("check",)


check = Rules[[Scheme, Kdamond, Cursor]]()
"""The rules on a scheme's quota."""


@check.add
def _unlimited(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    quota, place = scheme.quota, at("quota")
    if place.lost:
        return
    if quota is None and scheme.action in MOVING:
        message = f"`{scheme.action}` moves memory and has no quota"
        hint = "add `quota: {size: 200MiB, every: 1s}`, or `quota: unlimited`"
        yield at("action").value.error("DP0217", message, hint)
    elif isinstance(quota, Quota):
        if not quota.model_fields_set - {"weights", "every", "fail_charge"}:
            hint = "give `size` or `time` with `every`, or write `quota: unlimited`"
            yield place.value.error("DP0217", "`quota` limits nothing", hint)


@check.add
def _numbers(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    quota, place = scheme.limits, at("quota")
    for name in ("size", "time", "every"):
        value = quota.known(name)
        if value == 0:
            message = f"`{name}: 0` means unlimited to the kernel"
            hint = "leave it out, or write `quota: unlimited`"
            if name == "every":
                hint = "write `every: 1s`"
            elif name == "size" and quota.known("goals"):
                hint = "write the most in each `every`, such as `size: 200MiB`"
            yield place(name).value.error("DP0219", message, hint)
        elif value and name != "size" and value % 1_000:
            message = f"`{name}` is a whole number of milliseconds"
            yield place(name).value.error("DP0250", message, f"write `{max(value // 1_000, 1)}ms`")
    charge = quota.known("fail_charge")
    if charge and charge.numerator > charge.denominator:
        message = "`fail_charge` is above 1: failures would cost more than successes"
        yield place("fail_charge").value.error("DP0119", message, "write `1/1` or less")
    known = quota.known  # one limit is enough
    sized = known("size") not in (None, UNLIMITED)
    limited = sized or known("time") is not None or known("goals")
    if limited and quota.every is None:
        message = "the quota does not say for how long it is"
        yield place.value.error("DP0245", message, "add `every: 1s`")


@check.add
def _goals_without(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    quota, place = scheme.limits, at("quota")
    if quota.known("tuner") is not None and not quota.goals and not place("goals").lost:
        message = "`tuner` has no goal to tune toward"
        yield place("tuner").key.error("DP0233", message, "add `goals:`")
    if scheme.action == "stat":
        return  # it only counts, so no limit does no harm
    if quota.goals and quota.size is None:
        message = "goals without `size` could tune the quota up without end"
        yield place("goals").key.error("DP0218", message, "add `size:`, the most in each `every`")
    if quota.goals and quota.size == UNLIMITED:
        message = "goals could tune this quota up without end"
        hint = "name the most in each `every`, such as `size: 200MiB`"
        yield place("size").value.warning("DP0218", message, hint)


@check.add
def _weights(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    weights, place = scheme.limits.weights, at("quota", "weights")
    if weights is not None and not (weights.size or weights.access_rate or weights.age):
        message = "all weights are 0, so the quota would not choose at all"
        hint = "give at least one a weight, or leave `weights` out"
        yield place.value.warning("DP0232", message, hint)


@check.add
def _weights_ignored(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    """Report weights that the kernel ignores.

    Its order ignores sizes (mm/damon/ops-common.c: damon_hot_score()).
    """
    quota, place = scheme.limits, at("quota", "weights", "size")
    known, ours = traits(kdamond.ops, scheme.action), quota.weights is not None
    if ours and known.works and not known.priority:
        message = f"`{scheme.action}` on `{kdamond.ops}` ignores weights"
        hint = "the kernel takes its regions in address order"
        yield at("quota", "weights").key.warning("DP0232", message, hint)
    weights = quota.weights if ours else kdamond.temperature
    if not known.priority or weights is None or not weights.size or not (ours or quota.every):
        return
    if not (weights.access_rate or weights.age):
        message = "the kernel weighs no sizes, so the quota would not choose at all"
        hint = "give `access_rate` or `age` a weight"
        if not ours:
            hint += ", or the quota `weights` of its own"
            place = Cursor(at.read, at.path[:-2])("temperature", "size")
        yield place.value.error("DP0263", message, hint)
    elif ours:
        message = "the kernel weighs no sizes: `size` is ignored"
        yield place.value.warning("DP0232", message, "leave it out")


@check.add
def _goals(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    goals = scheme.limits.goals
    for index, goal in enumerate(goals):
        place = at("quota", "goals", index)
        yield from _target(goal, place("target"))
        yield from _keys(goal, place)
        if (source := goal.known("from_")) is not None:
            yield from check_source(source, place("from"))
        ops = kdamond.known("ops", "paddr")
        if goal.known("metric") == "node_eligible_mem_bp" and ops != "paddr":
            message = f"`node_eligible_mem_bp` is always 0 on `{ops}`"
            yield place("metric").value.error("DP0231", message, "it needs `ops: paddr`")
        if goal in goals[:index]:
            yield place.value.error("DP0223", "this goal appears twice", "remove one of them")


@rule
def _target(goal: Goal, at: Cursor) -> Findings:
    try:
        target = read_target(goal)
    except UnitError as error:
        unit = goal.metric.rpartition("_")[2]
        hint = bare_number(unit, goal.target, error.hint) if error.code == "DP0121" else error.hint
        yield at.value.error(error.code, error.message, hint)
        return
    if target == 0:
        message = "a goal of 0 is refused by kernels, or ignored"
        yield at.value.error("DP0211", message, "write the smallest real target")


@rule
def _keys(goal: Goal, at: Cursor) -> Findings:
    needed = METRICS[goal.metric]
    names = {"node": "node", "cgroup": "cgroup", "from_": "from"}
    given = {key for name, key in names.items() if name in goal.model_fields_set}
    for name in sorted(needed - given - {"from"}):
        message = f"`{goal.metric}` does not say which {name}"
        yield at("metric").value.error("DP0231", message, f"add `{name}:`")
    if goal.known("complement") and not goal.metric.endswith("_bp"):
        message = f"`{goal.metric}` is not a share, and has no complement"
        yield at("complement").key.error("DP0231", message, "remove `complement`")
    for name in sorted(given - needed):
        yield at(name).key.error("DP0231", f"`{goal.metric}` takes no `{name}`", f"remove `{name}`")
