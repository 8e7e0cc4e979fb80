"""Compilation of ``quotas/``: limits, weights, and goals, of the kernel or the service."""

from __future__ import annotations

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.actions import traits
from damonpolicy.kernel.damon.directory import File, Numbered
from damonpolicy.kernel.damon.features import first_kernel
from damonpolicy.plan.ir import Feed
from damonpolicy.policy.compile import tuning
from damonpolicy.policy.compile.files import Files, part
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.quotas import MEASURED, Goal, Quota, Tuner, Weights, read_target
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import readable

__all__ = ("pressed", "quota_files")

_DEFAULT_WEIGHTS = Weights(size=0, access_rate=1, age=1)
"""Default weights of a quota: access rate and age alike."""


def pressed(kdamond: Kdamond) -> int:
    """Return the microseconds for which goals on pressure need no commit.

    Up to 6.10, and from 7.3, a goal has no pressure to compare with in the window of a commit;
    with one in each window it would never see any (mm/damon/core.c, damos_commit_quota_goal();
    tests/guest/inside/test_service_trials.py). In between it keeps its last value.
    """
    windows = [
        scheme.limits.every or tuning.SECOND
        for scheme in kdamond.schemes
        if any(goal.metric == "some_mem_psi_us" for goal in scheme.limits.goals)
    ]
    return 3 * max(windows, default=0)


@part
def quota_files(out: Files, scheme: Scheme, kdamond: Kdamond, own: view.Quota, at: Cursor) -> None:
    """Compile a scheme's quota."""
    quota, by_service = scheme.limits, _by_service(out, scheme)
    path = own.size.path  # `UNLIMITED` is below 0
    out.put_field(path, lambda: 1 if by_service else max(quota.size or 0, 0), at("size"))
    _weights(out, scheme, kdamond, own.weights, at("weights"))
    above, below, charge = own.fail_charge, own.fail_charge_of, at("fail_charge")
    out.put_field(above.path, lambda: getattr(quota.fail_charge, "numerator", 0), charge)
    out.put_field(below.path, lambda: getattr(quota.fail_charge, "denominator", 0), charge)
    if by_service:
        out.loops.append(tuning.goals(out.policy, kdamond, scheme, own.size.path))
        message = "this kernel has no goals: the service tunes the quota by the kernel's law"
        hint = first_kernel("quota.goals")
        out.found.append(Diagnostic.note("DP0607", at("goals").key, message, hint=hint))
        return
    _tuner(out, quota, own.tuner, at("tuner"))
    _goals(out, quota, own.goals, at("goals"))


@part
def _weights(out: Files, scheme: Scheme, kdamond: Kdamond, own: view.Weights, at: Cursor) -> None:
    quota = scheme.limits
    weights = quota.weights or Weights()
    if quota.weights is None and quota.every and traits(kdamond.ops, scheme.action).priority:
        weights = kdamond.temperature or _DEFAULT_WEIGHTS
    out.put_keys(weights, at, own.size, own.access_rate, own.age)


def _by_service(out: Files, scheme: Scheme) -> bool:
    """Return whether the service has to tune a quota toward goals, as this kernel cannot."""
    wanted = scheme.limits.known("goals", ())
    return (
        out.served
        and bool(wanted)
        and all(goal.metric in MEASURED or goal.from_ is not None for goal in wanted)
        and not out.capabilities.has("quota.goals")
        and out.capabilities.has("commit")
    )


@part
def _tuner(out: Files, quota: Quota, own: File, at: Cursor) -> None:
    name = quota.tuner_name
    if isinstance(quota.tuner, Tuner) and quota.tuner.optional and name != own.row.default:
        message = f"the tuner `{name}` is left out: `consist` tunes"
        if out.leaves_out(at, message, ["quota.tuner"]):
            return
    out.put(own.path, name, at)


@part
def _goals(out: Files, quota: Quota, own: Numbered[view.Goal], at: Cursor) -> None:
    kept: list[tuple[int, Goal]] = []
    for index, goal in readable(quota.goals, "metric", "complement", "optional"):
        needed = ["quota.goals", f"quota.goal.{goal.metric}"]
        needed += ["quota.goal.complement"] if goal.complement else []
        message = f"the goal on `{goal.metric}` is left out"
        if not (goal.optional and out.leaves_out(at(index, "metric"), message, needed)):
            kept.append((index, goal))
    out.put(own.count.path, len(kept), at)
    for number, (index, goal) in enumerate(kept):
        _goal(out, quota, goal, own[number], at(index))


@part
def _goal(out: Files, quota: Quota, goal: Goal, own: view.Goal, at: Cursor) -> None:
    out.put_keys(goal, at, own.metric, own.complement)
    target = read_target(goal)
    # a fed goal starts neutral: a current value of 0 would open the quota at once
    current = target if goal.metric == "user_input" else 0
    out.put(own.target.path, target, at("target"))
    out.put(own.current.path, current, at("metric"))
    out.put_keys(goal, at, own.node, own.cgroup)
    if goal.from_ is not None:
        every = goal.from_.every or quota.every or tuning.SECOND
        out.feeds.append(Feed(own.path, tuning.source(goal.from_, out.policy), every))
