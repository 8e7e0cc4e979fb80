"""Round marks for the axes of heatmaps, in readable units."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import BYTES, approximate_bytes
from damonpolicy.observe.heatmap.matrix import Heatmap

__all__ = ("Mark", "address_marks", "address_title", "number", "time_marks", "time_title", "title")

_SECOND = 1_000_000_000
_TIMES = {"us": 1_000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND}
_STEPS = sorted(
    [unit * times for unit in (1_000, 1_000_000) for times in (1, 2, 5, 10, 20, 50, 100, 200, 500)]
    + [_SECOND * times for times in (1, 2, 5, 10, 15, 30)]
    + [_TIMES["m"] * times for times in (1, 2, 5, 10, 15, 30)]
    + [_TIMES["h"] * times for times in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672)]
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A position on an axis, in ns since the epoch or bytes, and its label."""

    at: int
    text: str


def _step(span: int, most: int, steps: Sequence[int]) -> int:
    for step in steps:
        if span <= step * most:
            return step
    step = steps[-1]
    while span > step * most:
        step *= 2
    return step


def _multiples(first: int, last: int, step: int, origin: int) -> list[int]:
    begin = origin - (origin - first) // step * step
    return list(range(begin, last + 1, step))


def time_marks(heatmap: Heatmap, most: int, *, absolute: bool = False) -> list[Mark]:
    """Mark times since the first snapshot, or times of day in UTC if ``absolute``."""
    window = heatmap.window
    step = _step(window.end - window.begin, most, _STEPS)
    if not absolute:
        unit = next(name for name, size in reversed(_TIMES.items()) if step >= size)
        if _SECOND // 100 <= step < _SECOND:
            unit = "s"  # 2.5s reads better than 2500ms
        return [
            Mark(each, f"{number((each - heatmap.origin) / _TIMES[unit])}{unit}")
            for each in _multiples(window.begin, window.end, step, heatmap.origin)
        ]
    return [
        Mark(each, _clock(each, step)) for each in _multiples(window.begin, window.end, step, 0)
    ]


def _clock(moment: int, step: int) -> str:
    told = datetime.fromtimestamp(moment // _SECOND, UTC)
    if step >= 24 * _TIMES["h"]:
        return told.strftime("%m-%d")
    if step >= _TIMES["m"]:
        return told.strftime("%H:%M")
    rest = moment % _SECOND
    text = told.strftime("%H:%M:%S")
    return text if step >= _SECOND else f"{text}.{rest:09}".rstrip("0").ljust(len(text) + 2, "0")


def address_marks(heatmap: Heatmap, most: int, *, absolute: bool = False) -> list[Mark]:
    """Mark bytes since the start of the window, or addresses if ``absolute``."""
    window = heatmap.window
    steps = [1 << power for power in range(64)]
    step = _step(window.stop - window.start, most, steps)
    if absolute and not heatmap.sorted:
        found = _multiples(window.start, window.stop, step, 0)
        return [Mark(each, f"{each:#x}") for each in found]
    unit = next(name for name, size in reversed(BYTES.items()) if step >= size)
    found = _multiples(window.start, window.stop, step, window.start)
    offsets = (each - window.start for each in found)
    return [
        Mark(window.start + each, f"{number(each / BYTES[unit])}{unit}" if each else "0")
        for each in offsets
    ]


def time_title(heatmap: Heatmap, *, absolute: bool = False) -> str:
    """Return the title of the time axis, with its origin."""
    begun = datetime.fromtimestamp(heatmap.origin // _SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return "time (UTC)" if absolute else f"time since {begun} UTC"


def address_title(heatmap: Heatmap, *, absolute: bool = False) -> str:
    """Return the title of the address axis, with its origin."""
    if heatmap.sorted:
        return f"bytes by temperature, {heatmap.sorted}"
    return "address" if absolute else f"bytes from {heatmap.window.start:#x}"


def title(heatmap: Heatmap) -> str:
    """Return the title of a map: its source and its quantity."""
    size = approximate_bytes(heatmap.window.stop - heatmap.window.start)
    if heatmap.sorted:
        return f"{heatmap.name}: {heatmap.shows}, {size} by temperature"
    window = heatmap.window
    return f"{heatmap.name}: {heatmap.shows}, {window.start:#x}-{window.stop:#x} ({size})"


def number(value: float) -> str:
    """Write a number for people: at most four digits, thousands of thousands as powers of ten."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    if abs(value) >= 1e6:
        return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")
    return f"{float(Fraction(f'{value:.4g}')):g}"
