"""Formulas, on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from damonpolicy.observe import temperature as heat
from damonpolicy.observe.regions import Intervals
from tests.observe.seen import MIB, listed, series, series_by_chance


def test_access_rates_are_cut_off_to_whole_percents():
    assert listed(heat.access_percent(np.array([0, 1, 19, 20]), 20)) == [0, 5, 95, 100]
    assert listed(heat.access_percent(np.array([3]), 200)) == [1]
    assert listed(heat.access_percent(np.array([1, 2]), 200, as_damo=True)) == [0, 1]


def test_memory_that_was_accessed_is_never_idle():
    """3 of 400 samples: less than one percent is more than nothing, except to damo."""
    percent = heat.access_percent(np.array([3, 0]), 400)
    assert percent.tolist() == [0.75, 0]
    assert [heat.plain(each) for each in percent] == [0.75, 0]
    assert listed(heat.idle_us(percent, np.array([9, 9]), 100_000)) == [0, 1_000_000]
    found = heat.temperature(np.array([1, 1]), percent, np.array([9, 9]), 100, (0, 100, 100))
    assert listed(found) == [90_075, -90_000]
    assert listed(heat.access_percent(np.array([3, 0]), 400, as_damo=True)) == [0, 0]


def test_damos_golden_temperature():
    """A region of 34 aggregations of 100 ms, never accessed."""
    found = heat.temperature(
        np.array([4096]), np.array([0]), np.array([34]), 100_000, heat.DEFAULT_WEIGHTS
    )

    assert listed(found) == [-340_000_000]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((0, 100, 100), 100 * 50 + 100 * 200_000), ((1, 0, 0), 4096), ((2, 3, 5), 8192 + 150 + 1_000_000)],
)  # fmt: skip
def test_temperature_is_a_weighted_sum(weights, expected):
    found = heat.temperature(np.array([4096]), np.array([50]), np.array([2]), 100_000, weights)

    assert listed(found) == [expected]


def test_idle_time_counts_the_aggregation_that_is_summed_up():
    found = heat.idle_us(np.array([0, 0, 5]), np.array([0, 9, 9]), 100_000)

    assert listed(found) == [100_000, 1_000_000, 0]


def test_the_working_set_is_what_enough_samples_found():
    made = series([(0, 2, 1, 0), (2, 4, 3, 0), (6, 8, 0, 0)], [(0, 1, 20, 0)])

    assert heat.working_set(made.snapshot(0)) == 6 * MIB
    assert heat.working_set(made.snapshot(0), 2) == 4 * MIB
    assert listed(heat.working_sets(made)) == [6 * MIB, MIB]


def test_bandwidth_counts_a_region_once_a_sample():
    made = series([(0, 2, 20, 0), (2, 4, 0, 0)], intervals=Intervals(5_000, 100_000))

    assert heat.bandwidth(made.snapshot(0), 100_000) == 2 * MIB * 20 * 10


def test_accesses_per_second():
    assert listed(heat.accesses_per_second(np.array([17, 0]), 100_000)) == [170, 0]


def test_spread_is_of_sorted_sizes():
    assert heat.spread(np.array([30, 10, 20, 40]), (0, 25, 50, 75, 100)) == [10, 20, 30, 40, 40]
    assert heat.spread(np.array([], dtype=int), (0, 50)) == []


@given(series_by_chance())
def test_working_sets_are_never_more_than_all(made):
    sizes, last = heat.working_sets(made), None
    for least in (1, 2, 20, 21):
        found = heat.working_sets(made, least)
        assert last is None or (found <= last).all()
        last = found
    assert all(size <= each.total for size, each in zip(sizes, made, strict=True))


def test_what_was_seen_of_what_could_be_seen():
    made = series([(0, 3, 20, 0), (3, 1, 0, 0), (4, 4, 5, 0)])

    assert heat.observed_bp(made.snapshot(0), 20) == 5_000
    assert heat.observed_bp(series([]).snapshot(0), 20) == 0


def test_the_trend_is_the_means_of_the_first_and_last_quarter():
    assert heat.trend(np.array([1, 3, 9, 9, 9, 9, 5, 9])) == (2, 7)
    assert heat.trend(np.array([1, 2, 3])) is None
