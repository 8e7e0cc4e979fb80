"""Small maps for the tests of what draws them."""

from __future__ import annotations

import numpy as np

from damonpolicy.observe.heatmap.matrix import Heatmap, Window

S = 1_000_000_000
BEGUN = 1_790_000_000 * S
"""2026-09-21 14:13:20 UTC."""
MIB = 1 << 20
BASE = 0x7F00_0000_0000


def made(values, *, seconds=10, size=8 * MIB, begin=0.0, base=BASE, **changes):
    """A map of rows of time from the first snapshot on; None is unknown."""
    told = {"name": "vm/writes, scheme stat", "shows": "accesses", "unit": "accesses/s"} | changes
    start = BEGUN + round(begin * S)
    window = Window(start, start + round(seconds * S), base, base + size)
    matrix = np.array(values, dtype=float).reshape(len(values), -1)
    what = (told["shows"], told["unit"], BEGUN, told.get("sorted", ""))
    return Heatmap(told["name"], matrix, window, *what)


def ramp(times=20, addresses=8):
    """Hot in one corner, unknown in another."""
    found = np.add.outer(np.arange(times), np.arange(addresses)).astype(float)
    found[:3, :2] = np.nan
    return made(found)
