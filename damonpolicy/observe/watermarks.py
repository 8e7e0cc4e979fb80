"""Whether watermarks keep a scheme or a module asleep, with the reason.

The kernel does not show whether a scheme sleeps. It compares free memory with the marks
(mm/damon/core.c: damos_wmark_wait_us()), and /proc/meminfo has the same two numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import format_percent
from damonpolicy.kernel.damon.view import Watermarks
from damonpolicy.kernel.system.machine import Machine, read_or

__all__ = ("Watch", "free_memory", "of_module", "of_scheme")

_WHOLE = 1_000


@dataclass(frozen=True, slots=True)
class Watch:
    """Free memory, None if unknown, and the marks, all in parts of 1000."""

    free: int | None
    high: int
    mid: int
    low: int

    @property
    def asleep(self) -> bool | None:
        """Whether it sleeps; None between ``mid`` and ``high``, where the state does not change."""
        if self.free is None:
            return None
        if self.free > self.high or self.free < self.low:
            return True
        return False if self.free < self.mid else None

    @property
    def words(self) -> str:
        """Describe the state, with the reason."""
        high, mid, low = (_percent(each) for each in (self.high, self.mid, self.low))
        if self.free is None:
            return "asleep or awake: how much memory is free is not known"
        free = f"{_percent(self.free)} of memory is free"
        if self.free > self.high:
            return f"asleep: {free}, above high {high} (awake below {mid})"
        if self.free < self.low:
            return f"asleep: {free}, below low {low} (awake from there up)"
        if self.asleep is None:
            return f"asleep or awake, as before: {free}, from mid {mid} to high {high}"
        return f"awake: {free}, below mid {mid} (asleep above {high} and below {low})"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "asleep": self.asleep,
            "why": self.words,
            "free_permil": self.free,
            "high_permil": self.high,
            "mid_permil": self.mid,
            "low_permil": self.low,
        }


def _percent(permil: int) -> str:
    return format_percent(permil, _WHOLE)


def free_memory(machine: Machine) -> int | None:
    """Return the free memory, in parts of 1000."""
    text = read_or(machine, "/proc/meminfo")
    sizes = dict(re.findall(r"^(Mem\w+): *([0-9]+)", text, re.MULTILINE | re.ASCII))
    total, free = int(sizes.get("MemTotal", 0)), sizes.get("MemFree")
    return int(free) * _WHOLE // total if free and total else None


def of_scheme(marks: Watermarks, free: int | None) -> Watch | None:
    """Return the watch of a scheme's watermarks; None if it is always awake."""
    if marks.metric.text != "free_mem_rate":
        return None
    return Watch(free, marks.high.number, marks.mid.number, marks.low.number)


def of_module(content: Callable[[str], str], free: int | None) -> Watch | None:
    """Return the watch of a module, by the reader of its parameters; None if it has no watermarks."""
    marks = [content(f"wmarks_{name}") for name in ("high", "mid", "low")]
    return Watch(free, *map(int, marks)) if all(each.isdecimal() for each in marks) else None
