"""Heatmaps on a terminal: coloured cells, or digits without colours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

import numpy as np

from damonpolicy.base.diagnostics import as_text
from damonpolicy.observe.heatmap.axes import (
    Mark,
    address_marks,
    address_title,
    number,
    time_marks,
    time_title,
    title,
)
from damonpolicy.observe.heatmap.colours import OF_TERMINALS
from damonpolicy.observe.heatmap.matrix import Heatmap
from damonpolicy.observe.regions import Array

__all__ = ("LEVELS", "drawn", "has_colour", "levels", "room")

LEVELS = 10

_UNKNOWN = " "
_AROUND = 7
"""Lines without pixels: title, axis, marks, titles of axes, legend, and the prompt."""
_LEAST = (10, 4)
_LABEL = 18


def room(columns: int, lines: int, *, absolute: bool = False) -> tuple[int, int]:
    """Return the pixels (time, address) of a window with the given columns and lines."""
    label = _LABEL if absolute else 10
    return max(columns - label - 2, _LEAST[0]), max(lines - _AROUND, _LEAST[1])


def has_colour(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether to use colours: on a terminal that has them, unless NO_COLOR is set."""
    known = os.environ if environment is None else environment
    if known.get("NO_COLOR") or known.get("TERM") == "dumb":
        return False
    return stream.isatty() or bool(known.get("FORCE_COLOR"))


def levels(heatmap: Heatmap) -> Array:
    """Return a level from 0 to 9 for each pixel, -1 if unknown; each is a tenth of the scale."""
    low, high = heatmap.scale
    unknown = np.isnan(heatmap.values)
    share = (np.where(unknown, low, heatmap.values) - low) / ((high - low) or 1)
    found: Array = np.minimum((share * LEVELS).astype(np.int64), LEVELS - 1)
    return np.where(unknown, -1, found)


def drawn(
    heatmap: Heatmap, *, colours: str = "heat", colour: bool = True, absolute: bool = False
) -> str:
    """Draw a map with its axes and its legend: time to the right, addresses upwards.

    Each pixel is one character, so the map should have the size of `room`. Names from outside are
    escaped, so that the result is safe for a terminal.
    """
    found = levels(heatmap)
    width, height = found.shape
    labels = _placed(address_marks(heatmap, max(height // 4, 2), absolute=absolute), heatmap)
    margin = max(len(each) for each in labels.values())
    palette = OF_TERMINALS[colours] if colour else ()
    lines = [as_text([title(heatmap)]).removesuffix("\n")]
    for row in range(height - 1, -1, -1):
        lines.append(f"{labels.get(row, ''):>{margin}} |{_cells(found[:, row], palette)}")
    lines += _time_axis(heatmap, width, margin, absolute=absolute)
    up, right = (each(heatmap, absolute=absolute) for each in (address_title, time_title))
    lines += [f"up: {up}; right: {right}", _legend(heatmap, palette)]
    return "\n".join(line.rstrip(" ") for line in lines) + "\n"


def _placed(marks: list[Mark], heatmap: Heatmap) -> dict[int, str]:
    """Return the label beside each row."""
    window, height = heatmap.window, heatmap.values.shape[1]
    span = max(window.stop - window.start, 1)
    return {
        min((each.at - window.start) * height // span, height - 1): each.text for each in marks
    } or {0: ""}


def _cells(column: Array, palette: tuple[int, ...]) -> str:
    """Write one line; cells of the same colour share their escape sequence."""
    if not palette:
        return "".join(_UNKNOWN if level < 0 else str(level) for level in column)
    parts, last = [], -1
    for level in column:
        if level != last:
            parts.append(f"\x1b[48;5;{palette[level]}m" if level >= 0 else "\x1b[0m")
            last = level
        parts.append(" ")
    return "".join(parts) + ("\x1b[0m" if last >= 0 else "")


def _time_axis(heatmap: Heatmap, width: int, margin: int, *, absolute: bool) -> list[str]:
    window = heatmap.window
    span = max(window.end - window.begin, 1)
    rule, text = ["-"] * width, [" "] * (width + 2)
    free = 0
    for mark in time_marks(heatmap, max(width // 14, 2), absolute=absolute):
        at = min((mark.at - window.begin) * width // span, width - 1)
        rule[at] = "+"
        if at >= free and at + len(mark.text) <= len(text):
            text[at : at + len(mark.text)] = mark.text
            free = at + len(mark.text) + 1
    indent = " " * margin
    return [f"{indent} +{''.join(rule)}", f"{indent}  {''.join(text)}"]


def _legend(heatmap: Heatmap, palette: tuple[int, ...]) -> str:
    low, high = heatmap.scale
    if np.isnan(heatmap.values).all():
        return "this time and these addresses were not recorded: `--guide` lists what was"
    unit = f" {heatmap.unit}" if heatmap.unit else ""
    if palette:
        half = len(palette) // 2
        keys = "".join(
            f"\x1b[48;5;{code};38;5;{15 if index < half else 16}m{index}"
            for index, code in enumerate(palette)
        )
        keys += "\x1b[0m"
    else:
        keys = "0123456789"
    if not np.nan_to_num(heatmap.values).any():
        return f"{keys}  all of it is 0{unit}; blank: unknown"
    step = number((high - low) / LEVELS)
    return f"{keys}  {number(low)} to {number(high)}{unit}, {step} each; blank: unknown"
