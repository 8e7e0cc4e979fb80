"""Exact painting of many rectangles onto pixels, by covered area.

A rectangle over time and address is a product of two spans, and a span begins and ends by a step.
Put onto pixels, the difference between neighbours that a step makes is at most in two places: the
pixel that it falls into, and the next. So a rectangle is four by four numbers, however large it
is, and one running sum along each axis makes the picture of all of them.
"""

from __future__ import annotations

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.observe.regions import Array, Table

__all__ = ("Rectangles", "covered", "painted")

CHUNK = 1 << 16
"""Rectangles per batch: more take memory and save no time."""


@dataclass(frozen=True, slots=True)
class Rectangles(Table):
    """Columns of positions in pixels, as floats: from ``left`` to ``right``, ``low`` to ``high``.

    All are within the picture, whose ``shape`` is pixels along the first axis and the second.
    """

    left: Array
    right: Array
    low: Array
    high: Array
    shape: tuple[int, int]


def _steps(first: Array, last: Array) -> list[tuple[Array, Array]]:
    """Return the pixels at which a span differs from the one before, and the differences."""
    begin, end = np.floor(first), np.floor(last)
    into, beyond = first - begin, last - end
    at, to = begin.astype(np.intp), end.astype(np.intp)
    return [(at, 1 - into), (at + 1, into), (to, beyond - 1), (to + 1, -beyond)]


def painted(rectangles: Rectangles, weights: Array) -> Array:
    """Return for each pixel the sum of weight times the covered share of the pixel.

    Exact except for the rounding of the running sums, about 1e-16 of the sum of all weights.
    """
    rows, columns = rectangles.shape
    width = columns + 2  # a span that ends with the picture has its last step beyond it
    length = (rows + 2) * width
    total = np.zeros(length)
    for start in range(0, len(rectangles), CHUNK):
        part = rectangles.take(slice(start, start + CHUNK))
        weight = weights[start : start + CHUNK]
        across = _steps(part.low, part.high)
        for row, share in _steps(part.left, part.right):
            base, amount = row * width, weight * share
            for column, other in across:
                total += np.bincount(base + column, amount * other, minlength=length)
    summed = total.reshape(rows + 2, width).cumsum(axis=0).cumsum(axis=1)
    return summed[:rows, :columns]


def covered(rectangles: Rectangles) -> Array:
    """Return for each pixel the exact number of rectangles that touch it."""
    rows, columns = rectangles.shape
    width = columns + 1
    length = (rows + 1) * width
    total = np.zeros(length, dtype=np.int64)
    for start in range(0, len(rectangles), CHUNK):
        part = rectangles.take(slice(start, start + CHUNK))
        first = np.floor(part.left).astype(np.intp) * width
        last = np.ceil(part.right).astype(np.intp) * width
        low = np.floor(part.low).astype(np.intp)
        high = np.ceil(part.high).astype(np.intp)
        total += np.bincount(first + low, minlength=length)
        total += np.bincount(last + high, minlength=length)
        total -= np.bincount(first + high, minlength=length)
        total -= np.bincount(last + low, minlength=length)
    summed = total.reshape(rows + 1, width).cumsum(axis=0).cumsum(axis=1)
    return summed[:rows, :columns]
