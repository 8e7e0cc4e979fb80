"""Ordering of rows."""

from __future__ import annotations

import numpy as np

from damonpolicy.observe.regions import Array

__all__ = ("in_order",)


def in_order(keys: Array, *, descending: bool) -> Array:
    """Return the indexes of keys in order; the sort is stable in either direction."""
    if not descending:
        return np.argsort(keys, kind="stable")
    return len(keys) - 1 - np.argsort(keys[::-1], kind="stable")[::-1]
