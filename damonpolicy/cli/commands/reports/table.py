"""Plain tables: aligned columns, no lines; text from outside is escaped first."""

from __future__ import annotations

from collections.abc import Sequence

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.units import approximate_bytes

__all__ = ("rate_text", "rate_words", "share_text", "table")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return lines of columns; the first ``left`` are aligned to the left, the others right."""
    shown = [[visible(cell, kept="") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in shown
    ]


def rate_text(rate: float) -> str:
    """Write bytes a second."""
    return f"{approximate_bytes(round(rate))}/s"


def rate_words(percent: float) -> str:
    """Write an access rate in percent; accessed memory is never at 0%."""
    return "<1%" if 0 < percent < 1 else f"{int(percent)}%"


def share_text(share: float | None) -> str:
    """Write a share from 0 to 1 in percent; a dash where there is none."""
    return "-" if share is None else f"{share * 100:.1f}%"
