"""Orders of rows."""

from __future__ import annotations

import numpy as np

from damonpolicy.observe.regions import Array

__all__ = ("in_order",)


def in_order(keys: Array, *, descending: bool) -> Array:
    """Return the places of keys in order; what is equal stays as it is, in either direction."""
    if not descending:
        return np.argsort(keys, kind="stable")
    return len(keys) - 1 - np.argsort(keys[::-1], kind="stable")[::-1]
