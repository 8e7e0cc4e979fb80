"""Colour maps of heatmaps, from cold to hot, for terminals, images and pages.

Lightness grows with heat, which works in print and for colour-blind readers. Unknown pixels have a
colour that no heat has: white would look like the hottest.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ("OF_SCREENS", "OF_TERMINALS", "UNKNOWN")

UNKNOWN = "#bcd5ea"
"""The colour of unknown in images and pages; on terminals it is blank."""

OF_TERMINALS: Mapping[str, tuple[int, ...]] = {
    "heat": (17, 18, 54, 90, 126, 162, 197, 208, 220, 230),
    "flame": (52, 88, 124, 160, 196, 202, 208, 214, 220, 229),
    "grey": (235, 237, 239, 241, 243, 246, 248, 250, 253, 255),
}
"""One colour per level, of the 256 of terminals."""


def _mixed(codes: str) -> tuple[str, ...]:
    return tuple(f"#{code}" for code in codes.split())


OF_SCREENS: Mapping[str, tuple[str, ...]] = {
    "heat": _mixed("05030f 2a0a52 63136e a12662 d94a41 f4831f fbc33c f6f29a"),
    "flame": _mixed("120000 5c0000 a80800 e83800 ff7a00 ffb000 ffdd40 fff3a0"),
    "grey": _mixed("101010 dcdcdc"),
}
"""Colours at equal steps, mixed in between."""
