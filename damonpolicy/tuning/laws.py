"""Control laws: pure functions from what was, and what is measured, to what shall be.

`next_input` and `quota` are the kernel's own, for kernels that have no goals.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ("Bounds", "approach", "follow", "next_input", "quota")

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


def approach(
    last: Fraction, measured: Fraction, target: Fraction, bounds: Bounds, *, raises: bool = True
) -> Fraction:
    """Return the next value of what is moved, so that what is measured comes to its target.

    ``raises``: a larger value makes the measured one larger. The change is proportional to the
    error as a share of the target, as the kernel's is, and half as large: the plant's own delay
    of one window then makes no oscillation.
    """
    error = (target - measured) / abs(target) if target else -measured
    if abs(error) <= bounds.dead_band:
        return bounds.held(last)
    share = min(max(error / 2, -bounds.step), bounds.step)
    base = max(abs(last), (bounds.most - bounds.least) / 100)
    return bounds.held(last + base * (share if raises else -share))


def follow(last: Fraction, measured: Fraction, bounds: Bounds) -> Fraction:
    """Return the next value of what shall be as large as what is measured, no faster than allowed."""
    if abs(measured - last) <= bounds.dead_band * abs(measured):
        return bounds.held(last)
    most = max(abs(last), (bounds.most - bounds.least) / 100) * bounds.step
    return bounds.held(last + min(max(measured - last, -most), most))
