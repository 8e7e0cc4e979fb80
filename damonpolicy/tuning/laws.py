"""Control laws: pure functions from state and measurement to the next value.

`next_input` and `quota` are the kernel's own, for kernels without goals.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U64_MAX

__all__ = ("Bounds", "Course", "approach", "follow", "next_input", "quota")

_GOAL = 10_000
"""The score of a reached goal."""
_LEAST = 10_000


def next_input(last: int, score: int) -> int:
    """Return the next input of a feedback loop, given the last one and its score.

    Source: mm/damon/core.c, damon_feed_loop_next_input() (Linux 7.3).
    It at most doubles, falls by at most all but 10,000, and saturates at 64 bits.
    """
    if score == _GOAL:
        return last
    if score >= _GOAL * 2:
        return _LEAST
    distance = abs(score - _GOAL)
    change = last * distance // _GOAL if last < U64_MAX // distance else last // _GOAL * distance
    return max(last - change, _LEAST) if score > _GOAL else min(last + change, U64_MAX)


def quota(state: int, score: int, cap: int, tuner: str = "consist") -> tuple[int, int]:
    """Return the loop's next state (basis points of bytes) and the quota's size in bytes.

    Source: mm/damon/core.c, damos_set_effective_quota() (Linux 7.3) and what it calls: the first
    moves step by step, the second opens the quota until the goal is reached. ``cap`` is the
    policy's size; the file takes at least one byte, as 0 is unlimited.
    """
    if tuner == "temporal":
        return 0, 1 if score >= _GOAL else cap
    following = next_input(max(state, _LEAST), score)
    return following, max(min(following // _GOAL, cap), 1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a value's moves: never outside ``least`` and ``most``, nor faster than ``step``."""

    least: Fraction
    most: Fraction
    step: Fraction = Fraction(1, 4)
    """The largest change of one window, as a share of the value."""
    dead_band: Fraction = Fraction(1, 20)
    """The distance from the target without a move, as a share of the target."""

    def held(self, value: Fraction) -> Fraction:
        """Return the nearest value within the limits."""
        return min(max(value, self.least), self.most)


@dataclass(frozen=True, slots=True)
class Course:
    """The history of a loop, for `approach`."""

    gain: Fraction = Fraction(1)
    """The factor of changes, reduced because earlier ones were too large."""
    side: int = 0
    """The sign of the last error: above 0 for too little, below 0 for too much."""
    windows: int = 0
    """The windows on that side since the gain changed."""
    error: Fraction | None = None
    """The error in the window before, as a share; None if unknown."""


_GAIN = Fraction(1, 4)
"""The change per window, as a share of the error; the kernel uses all of it."""
_LEAST_GAIN = Fraction(1, 16)
_PATIENCE = 12
"""Windows on one side after which the gain grows again: longer than half a swing."""
_AHEAD = 3
"""Windows in which a move may take effect: two of delay, and the one of the move."""


def approach(
    last: Fraction,
    measured: Fraction,
    target: Fraction,
    bounds: Bounds,
    course: Course,
    *,
    raises: bool = True,
) -> tuple[Fraction, Course]:
    """Return the next value of a loop with a target.

    ``raises``: a larger value increases the measured number. The change is proportional to the
    error as a share of the target, as the kernel's is. Two rules prevent oscillation with late
    answers: no move while the measured number is about to reach the target by itself, from earlier
    moves, and half the gain each time that it passes the target, until it stays on one side for
    long.
    """
    error = (target - measured) / abs(target) if target else -measured
    if abs(error) <= bounds.dead_band:
        return bounds.held(last), replace(course, error=error)
    side, gain, windows = 1 if error > 0 else -1, course.gain, course.windows + 1
    if side == -course.side:
        gain, windows = max(gain / 2, _LEAST_GAIN), 0
    elif windows >= _PATIENCE:
        gain, windows = min(gain * 2, Fraction(1)), 0
    after = Course(gain, side, windows, error)
    coming = error if course.error is None else error + _AHEAD * (error - course.error)
    if coming * side <= bounds.dead_band:
        return bounds.held(last), after
    share = min(max(error * _GAIN * gain, -bounds.step), bounds.step)
    base = max(abs(last), (bounds.most - bounds.least) / 100)
    return bounds.held(last + base * (share if raises else -share)), after


def follow(last: Fraction, measured: Fraction, bounds: Bounds) -> Fraction:
    """Return the next value of a loop that follows the measured number, within its limits."""
    if abs(measured - last) <= bounds.dead_band * abs(measured):
        return bounds.held(last)
    most = max(abs(last), (bounds.most - bounds.least) / 100) * bounds.step
    return bounds.held(last + min(max(measured - last, -most), most))
