"""Control laws: pure functions from what was, and what is measured, to what shall be.

`next_input` and `quota` are the kernel's own, for kernels that have no goals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

__all__ = ("Bounds", "Course", "approach", "follow", "next_input", "quota")

_GOAL = 10_000
"""The score of a goal that is reached."""
_LEAST = 10_000
_U64 = (1 << 64) - 1


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
    change = last * distance // _GOAL if last < _U64 // distance else last // _GOAL * distance
    return max(last - change, _LEAST) if score > _GOAL else min(last + change, _U64)


def quota(state: int, score: int, cap: int, tuner: str = "consist") -> tuple[int, int]:
    """Return the loop's next state (basis points of bytes) and the quota's size in bytes.

    Source: mm/damon/core.c, damos_set_effective_quota() (Linux 7.3) and what it calls: the
    first moves step by step, the second opens the quota until the goal is reached. ``cap`` is
    the size that the policy gives; the file takes no less than one byte, as 0 is unlimited.
    """
    if tuner == "temporal":
        return 0, 1 if score >= _GOAL else cap
    following = next_input(max(state, _LEAST), score)
    return following, max(min(following // _GOAL, cap), 1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How a value may move: never outside ``least`` and ``most``, nor faster than ``step``."""

    least: Fraction
    most: Fraction
    step: Fraction = Fraction(1, 4)
    """The largest change of one window, as a share of the value."""
    dead_band: Fraction = Fraction(1, 20)
    """How far from the target nothing is done, as a share of the target."""

    def held(self, value: Fraction) -> Fraction:
        """Return the nearest value within."""
        return min(max(value, self.least), self.most)


@dataclass(frozen=True, slots=True)
class Course:
    """How a loop has gone so far, for `approach`."""

    gain: Fraction = Fraction(1)
    """What the changes are multiplied by, as they were too large before."""
    side: int = 0
    """Above 0 where there was too little last time, below where there was too much."""
    windows: int = 0
    """For how many windows it has been on that side since the gain changed."""
    error: Fraction | None = None
    """How far it was from the target in the window before, as a share; None where nobody knows."""


_GAIN = Fraction(1, 4)
"""The change of a window, as a share of the error; the kernel's is all of it."""
_LEAST_GAIN = Fraction(1, 16)
_PATIENCE = 12
"""Windows on one side after which the gain grows again: longer than half a swing takes."""
_AHEAD = 3
"""Windows in which what is under way may show: two that a plant is late, and the one of the move."""


def approach(
    last: Fraction,
    measured: Fraction,
    target: Fraction,
    bounds: Bounds,
    course: Course,
    *,
    raises: bool = True,
) -> tuple[Fraction, Course]:
    """Return the next value of what is moved, so that what is measured comes to its target.

    ``raises``: a larger value makes the measured one larger. The change is proportional to the
    error as a share of the target, as the kernel's is. Two things keep plants that answer late
    from swinging: nothing is done while the measured value is about to reach the target by
    itself, as earlier moves begin to show, and each time that it has gone past the target the
    gain is halved, until it stays on one side for long.
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
    """Return the next value of what shall be as large as what is measured, no faster than allowed."""
    if abs(measured - last) <= bounds.dead_band * abs(measured):
        return bounds.held(last)
    most = max(abs(last), (bounds.most - bounds.least) / 100) * bounds.step
    return bounds.held(last + min(max(measured - last, -most), most))
