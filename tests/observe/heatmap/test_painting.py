from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.observe.heatmap.painting import CHUNK, Rectangles, covered, painted

ROWS, COLUMNS = 5, 4


def rectangles(found, shape=(ROWS, COLUMNS)):
    left, right, low, high = np.array(found, dtype=float).reshape(-1, 4).T
    return Rectangles(left, right, low, high, shape)


def slow(found, weights, shape=(ROWS, COLUMNS)):
    """The obvious way: every pixel asks every rectangle."""
    sums, counts = np.zeros(shape), np.zeros(shape, dtype=int)
    for (left, right, low, high), weight in zip(found, weights, strict=True):
        for row in range(shape[0]):
            for column in range(shape[1]):
                time = min(right, row + 1) - max(left, row)
                space = min(high, column + 1) - max(low, column)
                if time > 0 and space > 0:
                    sums[row, column] += weight * time * space
                    counts[row, column] += 1
    return sums, counts


@st.composite
def spans(draw, most):
    # quarters are exact, and fall on the edges of pixels often
    first = draw(st.integers(0, most * 4 - 1))
    return first / 4, draw(st.integers(first + 1, most * 4)) / 4


pictures = st.lists(
    st.tuples(spans(ROWS), spans(COLUMNS), st.integers(0, 200)).map(
        lambda each: (*each[0], *each[1], each[2])
    ),
    max_size=30,
)


@given(pictures)
def test_is_what_asking_every_rectangle_for_every_pixel_gives(found):
    weights = np.array([each[4] for each in found], dtype=float)
    shapes = [each[:4] for each in found]
    sums, counts = slow(shapes, weights)

    assert painted(rectangles(shapes), weights) == pytest.approx(sums, abs=1e-9)
    assert (covered(rectangles(shapes)) == counts).all()


def test_a_rectangle_within_one_pixel_gives_it_its_share():
    picture = painted(rectangles([(1.25, 1.75, 2.0, 2.5)]), np.array([8.0]))

    expected = np.zeros((ROWS, COLUMNS))
    expected[1, 2] = 8 * 0.5 * 0.5
    assert picture == pytest.approx(expected)


def test_all_of_the_picture_is_every_pixel_once():
    whole = rectangles([(0, ROWS, 0, COLUMNS)])

    assert (painted(whole, np.array([3.0])) == 3).all()
    assert (covered(whole) == 1).all()


def test_more_rectangles_than_are_painted_at_once_are_all_there():
    count = CHUNK + 7
    many = rectangles(np.tile([1, 2, 1, 3], (count, 1)))

    assert painted(many, np.ones(count))[1].tolist() == [0, count, count, 0]
    assert covered(many)[1].tolist() == [0, count, count, 0]


def test_no_rectangle_is_an_empty_picture():
    nothing = rectangles([])

    assert not painted(nothing, np.array([])).any()
    assert not covered(nothing).any()
