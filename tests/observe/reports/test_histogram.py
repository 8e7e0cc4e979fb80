"""Bins and percentiles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.observe.reports.histogram import histogram, percentiles

PAIRS = st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(1, 10**6)), max_size=30)


def arrays(pairs):
    values = np.array([each[0] for each in pairs], dtype=np.int64)
    return values, np.array([each[1] for each in pairs], dtype=np.uint64)


def test_ten_bins_as_wide_as_each_other():
    found = histogram(np.array([0, 5, 99]), np.array([1, 2, 4]))

    assert [(each.low, each.high) for each in found[:2]] == [(0, 10), (10, 20)]
    assert [each.size for each in found] == [3, 0, 0, 0, 0, 0, 0, 0, 0, 4]


def test_bins_that_double():
    found = histogram(np.array([0, 1, 2, 1023]), np.array([1, 1, 1, 1]), log=True)

    assert [each.high - each.low for each in found[:4]] == [1, 2, 4, 8]
    assert [each.size for each in found[:2]] == [1, 2]


def test_bins_of_ones_own_and_what_passed():
    values, size, passed = np.array([1, 5, 50]), np.array([10, 20, 40]), np.array([0, 20, 10])

    found = histogram(values, size, passed, ranges=[(0, 10), (10, 100)])

    assert [(each.size, each.passed) for each in found] == [(30, 20), (40, 10)]


@given(PAIRS, st.booleans())
def test_bins_hold_all_bytes_once(pairs, log):
    values, size = arrays(pairs)

    found = histogram(values, size, log=log)

    assert sum(each.size for each in found) == int(size.sum())
    assert all(one.high == two.low for one, two in pairwise(found))


@given(PAIRS)
def test_cumulative_bins_only_grow(pairs):
    values, size = arrays(pairs)

    found = [each.size for each in histogram(values, size, cumulative=True)]

    assert found == sorted(found)
    assert not pairs or found[-1] == int(size.sum())


def test_percentiles_by_hand():
    """Half of the bytes are at 10, the rest at -3 and 7."""
    values, size = np.array([10, -3, 7]), np.array([50, 25, 25])

    found = percentiles(values, size, (0, 25, 26, 50, 51, 100))

    assert found == [(0, -3), (25, -3), (26, 7), (50, 7), (51, 10), (100, 10)]


@given(PAIRS)
def test_percentiles_are_monotone_and_the_ends_are_the_extremes(pairs):
    values, size = arrays(pairs)

    found = percentiles(values, size, tuple(range(101)))

    assert [each for _, each in found] == sorted(each for _, each in found)
    if pairs:
        assert (found[0][1], found[-1][1]) == (values.min(), values.max())
    else:
        assert found == []


def test_a_cumulative_bin_has_no_lower_end():
    found = histogram(np.array([1, 5, 9]), np.array([4, 4, 4]), cumulative=True,
                      ranges=[(4, 6), (6, 10)])  # fmt: skip

    assert [(each.low, each.high, each.size) for each in found] == [(None, 6, 8), (None, 10, 12)]
