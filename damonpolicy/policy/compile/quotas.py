"""Compilation of ``quotas/``: limits, weights, and goals, of the kernel or the service."""

from __future__ import annotations

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.kernel.damon.actions import traits
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.features import first_kernel
from damonpolicy.kernel.damon.schema import default
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import Feed, Loop
from damonpolicy.policy.compile import tuning
from damonpolicy.policy.compile.files import Files
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.quotas import MEASURED, Goal, Tuner, Weights, read_target
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import readable

__all__ = ("Quotas", "pressed")

_DEFAULT_WEIGHTS = Weights(size=0, access_rate=1, age=1)
"""Default weights of a quota: access rate and age alike."""
_SECOND = 1_000_000


def pressed(kdamond: Kdamond) -> int:
    """Return the microseconds for which goals on pressure need no commit.

    Up to 6.10, and from 7.3, a goal has no pressure to compare with in the window of a commit;
    with one in each window it would never see any (mm/damon/core.c, damos_commit_quota_goal();
    tests/guest/inside/test_service_trials.py). In between it keeps its last value.
    """
    windows = [
        scheme.limits.every or _SECOND
        for scheme in kdamond.schemes
        if any(goal.metric == "some_mem_psi_us" for goal in scheme.limits.goals)
    ]
    return 3 * max(windows, default=0)


class Quotas(Files):
    """A compiler of quotas; ``feeds`` and ``loops`` are the service's part."""

    def __init__(
        self,
        policy: str,
        capabilities: Capabilities,
        machine: Machine | None,
        *,
        served: bool = False,
    ) -> None:
        super().__init__(policy, capabilities, machine)
        self.served = served
        self.feeds: list[Feed] = []
        self.loops: list[Loop] = []

    def quota(self, scheme: Scheme, kdamond: Kdamond, base: str, at: Cursor) -> None:
        """Compile a scheme's quota into the directory ``base``."""
        quota, by_service = scheme.limits, self._by_service(scheme)

        def size() -> int:
            return 1 if by_service else max(quota.size or 0, 0)  # `UNLIMITED` is below 0

        self.put_field(f"{base}/bytes", size, at("size"))
        self.part(self._weights, scheme, kdamond, f"{base}/weights", at("weights"))
        self.part(self._charge, scheme, base, at("fail_charge"))
        if by_service:
            self._tune(scheme, kdamond, base.removesuffix("/quotas"), at)
            return
        self.part(self._tuner, scheme, base, at("tuner"))
        self.part(self._goals, scheme, f"{base}/goals", at("goals"))

    def _weights(self, scheme: Scheme, kdamond: Kdamond, base: str, at: Cursor) -> None:
        quota = scheme.limits
        weights = quota.weights or Weights()
        if quota.weights is None and quota.every and traits(kdamond.ops, scheme.action).priority:
            weights = kdamond.temperature or _DEFAULT_WEIGHTS
        self.put(f"{base}/sz_permil", weights.size, at("size"))
        self.put(f"{base}/nr_accesses_permil", weights.access_rate, at)
        self.put(f"{base}/age_permil", weights.age, at("age"))

    def _charge(self, scheme: Scheme, base: str, at: Cursor) -> None:
        charge = scheme.limits.fail_charge
        self.put(f"{base}/fail_charge_num", charge.numerator if charge else 0, at)
        self.put(f"{base}/fail_charge_denom", charge.denominator if charge else 0, at)

    def _by_service(self, scheme: Scheme) -> bool:
        """Return whether the service has to tune a quota toward goals, as this kernel cannot."""
        wanted = scheme.limits.known("goals", ())
        return (
            self.served
            and bool(wanted)
            and all(goal.metric in MEASURED or goal.from_ is not None for goal in wanted)
            and not self.has_all(["quota.goals"])
            and self.has_all(["commit"])
        )

    def _tune(self, scheme: Scheme, kdamond: Kdamond, base: str, at: Cursor) -> None:
        """Have the service tune the quota's size by the kernel's law."""
        quota, measured = scheme.limits, []
        for goal in quota.goals:
            if goal.from_ is not None:
                given = tuning.source(goal.from_, self.policy)
            else:
                given = {"metric": goal.metric, "node": goal.node, "complement": goal.complement}
            measured.append((read_target(goal), given))
        name = f"{kdamond.name}/{scheme.name}"
        every = quota.every or _SECOND
        self.loops.append(
            tuning.goals(
                name, kdamond.name, base, quota.size or 0, quota.tuner_name, every, measured
            )
        )
        message = "this kernel has no goals: the service tunes the quota by the kernel's law"
        hint = first_kernel("quota.goals")
        self.found.append(Diagnostic.note("DP0607", at("goals").key, message, hint=hint))

    def _tuner(self, scheme: Scheme, base: str, at: Cursor) -> None:
        tuner = scheme.limits.tuner
        name = scheme.limits.tuner_name
        changed = name != default(f"{base}/goal_tuner")
        optional = isinstance(tuner, Tuner) and tuner.optional
        if optional and changed and not self.has_all(["quota.tuner"]):
            message = f"the tuner `{name}` is left out: `consist` tunes"
            self.left_out(at, message, self.lacking(["quota.tuner"]))
            return
        self.put(f"{base}/goal_tuner", name, at)

    def _goals(self, scheme: Scheme, base: str, at: Cursor) -> None:
        kept: list[tuple[int, Goal]] = []
        for index, goal in readable(scheme.limits.goals, "metric", "complement", "optional"):
            needed = ["quota.goals", f"quota.goal.{goal.metric}"]
            needed += ["quota.goal.complement"] if goal.complement else []
            if goal.optional and not self.has_all(needed):
                message = f"the goal on `{goal.metric}` is left out"
                self.left_out(at(index, "metric"), message, self.lacking(needed))
            else:
                kept.append((index, goal))
        self.put(f"{base}/nr_goals", len(kept), at)
        for number, (index, goal) in enumerate(kept):
            self.part(self._goal, scheme, goal, f"{base}/{number}", at(index))

    def _goal(self, scheme: Scheme, goal: Goal, directory: str, place: Cursor) -> None:
        self.put(f"{directory}/target_metric", goal.metric, place("metric"))
        self.put(f"{directory}/complement", goal.complement, place("complement"))
        target = read_target(goal)
        # a fed goal starts neutral: a current value of 0 would open the quota at once
        current = target if goal.metric == "user_input" else 0
        self.put(f"{directory}/target_value", target, place("target"))
        self.put(f"{directory}/current_value", current, place("metric"))
        self.put(f"{directory}/nid", goal.node or 0, place("node"))
        self.put(f"{directory}/path", goal.cgroup or "", place("cgroup"))
        if goal.from_ is not None:
            every = goal.from_.every or scheme.limits.every or _SECOND
            given = tuning.source(goal.from_, self.policy)
            self.feeds.append(Feed(directory, given, every))
