"""Text for a terminal: colours, and line breaks that fit its width."""

from __future__ import annotations

import os
import re
from typing import Any

__all__ = ("coloured_findings", "columns", "fitted", "in_colour", "width_of")

_NARROWEST, _USUAL = 40, 80
_BESIDE = r"^(\s+[-+~ ] \S.*?\S)\s{2,}([a-z0-9_]+(?:/[a-z0-9_]+)+|[a-z]+_[a-z_]+)$"
"""A line of a plan, and the kernel's file beside it."""
_HEAD = r"^((?:\S+:\d+:\d+: )?)(error|warning|note)(\[DP\d{4}\]: )(.*)$"
_SEVERITIES = {"error": "1;31", "warning": "1;33", "note": "1;36"}


def in_colour(stream: Any) -> bool:
    """Return whether to use colours: NO_COLOR wins, FORCE_COLOR needs no terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(stream.isatty() or os.environ.get("FORCE_COLOR"))


def width_of(stream: Any) -> int:
    """Return how many characters a line of a terminal has; 0 for anything else."""
    if not stream.isatty():
        return 0
    return max(columns(), _NARROWEST)


def columns() -> int:
    """Return the terminal's width; `shutil` has it too, but imports every kind of archive."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size().columns or _USUAL
    except OSError:  # it is no terminal
        return _USUAL


def fitted(text: str, width: int) -> str:
    """Break lines that are too long, at their own indentation; files beside them make room."""
    if not width:
        return text
    import textwrap

    lines: list[str] = []
    for line in text.split("\n"):
        beside = re.match(_BESIDE, line) if len(line) > width else None
        shown = beside[1] if beside else line
        if len(shown) <= width:
            lines.append(shown)
            continue
        indent = len(shown) - len(shown.lstrip(" +-~")) + 2
        lines += textwrap.wrap(
            shown, width, subsequent_indent=" " * min(indent, width // 2),
            drop_whitespace=True, break_long_words=False, break_on_hyphens=False,
            replace_whitespace=False,
        )  # fmt: skip
    return "\n".join(lines)


def coloured_findings(text: str) -> str:
    """Colour the output of `diagnostics.render_text`; the meaning never depends on colours."""
    return "\n".join(_coloured(line) for line in text.split("\n"))


def _coloured(line: str) -> str:
    if head := re.match(_HEAD, line):
        place, kind, code, message = head.groups()
        return f"{place}\x1b[{_SEVERITIES[kind]}m{kind}{code}\x1b[0m\x1b[1m{message}\x1b[0m"
    if line.startswith("  hint: "):
        return f"  \x1b[32mhint:\x1b[0m {line.removeprefix('  hint: ')}"
    if re.fullmatch(r" +\| +\^+", line):
        before, bar, caret = line.partition("|")
        return f"{before}{bar}\x1b[31m{caret}\x1b[0m"
    return line
