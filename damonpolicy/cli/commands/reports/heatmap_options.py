"""Values of the options of ``damonpolicy report heatmap``: ranges, times, sizes, resolution."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import U64_MAX, UnitError, read_address, read_duration
from damonpolicy.cli.context import Invocation
from damonpolicy.observe.heatmap import terminal

_MOST_PIXELS = 10_000
_IMAGES = ("png", "svg", "pdf")
_MOST_TOGETHER = dict.fromkeys(_IMAGES, 16_000_000)
"""Pixels of all maps of a file; of those that write each as text, and of what is printed, fewer."""
_MOST_AS_TEXT = 4_000_000
_MOST_CELLS = 2000
"""The largest terminal: the environment may say anything."""

FURTHEST = 1 << 62
"""Nanoseconds, to either side of the epoch."""

_FORMS = (*_IMAGES, "html", "csv")
_FOR_FILES = (500, 500)
_FOR_PAGES = 500_000
"""Pixels of all maps of a page together: 2.6 MiB."""
_FOR_TOOLS = (80, 40)


_SPAN = r"(?P<first>-?[^-]+?)?(?:-|\.\.)(?P<last>-?[^-]+)?\Z"


def most_of(text: str | None) -> float | None:
    """Read `--scale`: a number above 0."""
    if text is None:
        return None
    try:
        found = float(text.removesuffix("%"))
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        message = f"`--scale {visible(text[:40])}` is not a number above 0"
        raise UsageError(message, hint="write `200`")
    return found


def range_of(text: str) -> tuple[int, int]:
    """Read ``START-END``; a size may stand for an address."""
    first, dash, last = text.partition(".." if ".." in text else "-")
    hint = "write for example `0x100000000-0x140000000` or `4GiB-5GiB`; `--guide` lists areas"
    try:
        start, end = read_address(first.strip()), read_address(last.strip()) if dash else 0
    except UnitError as error:
        raise UsageError(error.message, hint=error.hint or hint) from error
    if not dash:
        raise UsageError(f"`{visible(text[:40])}` is not a range of addresses", hint=hint)
    if start >= end:
        raise UsageError(f"`--range {visible(text[:60])}` has no length", hint=hint)
    return start, min(end, U64_MAX)


def span_of(text: str) -> tuple[int | None, int | None]:
    """Read ``START-END`` in ns from the first snapshot; either may be missing or negative."""
    matched = re.match(_SPAN, text.replace(" ", ""))
    hint = "write for example `10s-1m`, `10s-`, or `--time=-5m..0` for what was before"
    if not matched:
        raise UsageError(f"`{visible(text[:40])}` is not a range of times", hint=hint)
    moments: list[int | None] = []
    for each in matched.group("first", "last"):
        try:
            sign = -1000 if (each or "").startswith("-") else 1000
            moments.append(None if not each else sign * read_duration(each.lstrip("-")))
        except UnitError as error:
            raise UsageError(error.message, hint=error.hint or hint) from error
    return moments[0], moments[1]


def resolution_of(text: str | None) -> tuple[int, int] | None:
    """Read ``TIMESxADDRESSES``; None if not given."""
    if text is None:
        return None
    matched = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if not matched:
        message = f"`{visible(text[:40])}` is not a resolution"
        raise UsageError(message, hint="write for example `500x500`")
    times, addresses = int(matched[1]), int(matched[2])
    if not (1 <= times <= _MOST_PIXELS and 1 <= addresses <= _MOST_PIXELS):
        raise UsageError(f"`--resolution` is from 1x1 to {_MOST_PIXELS}x{_MOST_PIXELS}")
    return times, addresses


def bounded(size: tuple[int, int], count: int, form: str) -> None:
    """Refuse more pixels than a form can hold, in memory and as a file."""
    most = _MOST_TOGETHER.get(form, _MOST_AS_TEXT)
    if size[0] * size[1] * count > most:
        side = int((most / count) ** 0.5)
        of = f" of {count} maps" if count > 1 else ""
        message = f"`--resolution {size[0]}x{size[1]}`{of} is more than {most:,} pixels"
        raise UsageError(message, hint=f"write for example `{side}x{side}`")


def room(invocation: Invocation, form: str, count: int, *, absolute: bool) -> tuple[int, int]:
    """Return the number of pixels that fit, if none was given."""
    if form == "html" and count:
        side = min(int((_FOR_PAGES / count) ** 0.5), _FOR_FILES[0])
        return side, side
    if form and form != "csv":
        return _FOR_FILES
    if form == "csv" or invocation.form == "json":
        return _FOR_TOOLS
    window = shutil.get_terminal_size()
    columns, lines = (min(each, _MOST_CELLS) for each in window)
    return terminal.room(columns, lines, absolute=absolute)


def form_of(out: str | None) -> str:
    """Return the form that a file's name selects, empty without a file."""
    if out is None:
        return ""
    form = Path(out).suffix.lower().removeprefix(".")
    if form not in _FORMS:
        message = f"`{visible(out)}` does not end as a file that is known"
        raise UsageError(message, hint="end it in " + ", ".join(f"`.{each}`" for each in _FORMS))
    return form
