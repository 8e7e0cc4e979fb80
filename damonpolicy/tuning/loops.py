"""One step of a loop: from the measured number to the next value of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from fractions import Fraction
from typing import Any

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U32_MAX, U64_MAX
from damonpolicy.tuning import laws

__all__ = ("State", "step")

_GOAL = 10_000
_FINE = 1 << 20
"""The precision of unrounded values, in parts of one."""


@dataclass(frozen=True, slots=True)
class State:
    """The state of a loop between steps.

    ``exact`` is its value before rounding, or the state of the kernel's law; ``error`` the distance
    of the measured number from the target, as a share: above 0 for too little; ``course`` is the
    one of `laws.approach`.
    """

    exact: Fraction | None = None
    error: float | None = None
    course: laws.Course = field(default_factory=laws.Course)

    def blind(self) -> State:
        """Return the state after a step without a measurement."""
        return replace(self, error=None, course=replace(self.course, error=None))


def step(
    law: Mapping[str, Any], held: int, measured: Sequence[Fraction], state: State
) -> tuple[int, State]:
    """Return the next value and state; ``held`` is the file's current value.

    ``measured`` has a number for each source of the loop.
    """
    return _LAWS[law["law"]](law, held, measured, state)


def _approach(
    law: Mapping[str, Any], held: int, measured: Sequence[Fraction], state: State
) -> tuple[int, State]:
    bounds = laws.Bounds(*(Fraction(law[each]) for each in ("least", "most", "step", "dead_band")))
    last, now, course = _last(held, state), measured[0], state.course
    if law["law"] == "follow":
        exact = laws.follow(last, now, bounds)
        error = (now - last) / abs(now) if now else Fraction(0) if not last else Fraction(-1)
    else:
        target = Fraction(law["target"])
        exact, course = laws.approach(last, now, target, bounds, course, raises=law["raises"])
        error = (target - now) / target
    # or its digits would grow with each window
    exact = exact.limit_denominator(_FINE)
    return round(exact), State(exact, float(error), course)


def _last(held: int, state: State) -> Fraction:
    """Return the exact value, unless the file differs from its rounded form."""
    if state.exact is not None and round(state.exact) == held:
        return state.exact
    return Fraction(held)


def _goals(
    law: Mapping[str, Any], held: int, measured: Sequence[Fraction], state: State
) -> tuple[int, State]:
    """Tune a quota with goals as the kernel does: its most satisfied goal decides.

    Source: mm/damon/core.c, damos_quota_score() and damos_set_effective_quota() (Linux 7.3).
    """
    targets: Sequence[int] = law["targets"]
    currents = [min(max(int(each), 0), U64_MAX) for each in measured]
    score = max(now * _GOAL // to for now, to in zip(currents, targets, strict=True))
    known = state.exact is not None and min(int(state.exact) // _GOAL, law["cap"]) == held
    last = int(state.exact) if known and state.exact is not None else held * _GOAL
    exact, size = laws.quota(last, score, law["cap"], law["tuner"])
    return size, replace(state, exact=Fraction(exact), error=1 - score / _GOAL)


def _age(
    law: Mapping[str, Any], held: int, measured: Sequence[Fraction], state: State
) -> tuple[int, State]:
    """Return an age as a count of aggregations of the given microseconds.

    A lower bound is rounded up, an upper one down. Each change is a commit, so a count that is too
    tight by up to a tenth stays.
    """
    exact = law["time"] / measured[0]
    if law["least"]:
        wanted = -(-exact.numerator // exact.denominator)
        kept = exact <= held <= exact * 11 / 10
    else:
        wanted = int(exact)
        kept = exact * 9 / 10 <= held <= exact
    error = float((exact - held) / exact) if exact else 0.0
    return held if kept else min(wanted, U32_MAX), replace(state, error=error)


_LAWS = {"approach": _approach, "follow": _approach, "goals": _goals, "age": _age}
