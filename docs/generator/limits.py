"""The page of limits, from damonpolicy/base/limits.py."""

from __future__ import annotations

from pathlib import Path

from damonpolicy.base import limits
from generator.diagnostics import link
from generator.markdown import MADE, code, table

__all__ = ("page",)


def page(docs: Path) -> str:
    """Return the page."""
    parts = [
        "# Limits\n",
        MADE,
        (
            "What exceeds a limit is refused at its place, at once, and in little memory, as files of"
            " others may be made to fill a machine. No limit restricts what the kernel could do.\n"
        ),
    ]
    every = [each for each in vars(limits).values() if isinstance(each, limits.Limit)]
    groups = dict.fromkeys(each.group for each in every)
    for group in groups:
        rows = [
            (each.what, _number(each), link(docs, each.code, code(each.code)) if each.code else "")
            for each in every
            if each.group == group
        ]
        parts += [f"## {group}\n", table(("what", "most", "diagnostic"), rows)]
    return "\n".join(parts)


def _number(limit: limits.Limit) -> str:
    if limit.unit != "bytes":
        return f"{limit.most:,} {limit.unit}".rstrip()
    for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if limit.most % size == 0:
            return f"{limit.most // size} {name}"
    return f"{limit.most:,} bytes"
