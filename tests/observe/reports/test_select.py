"""Selection of a report's regions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.base.units import UnitError, read_address, read_bytes, read_duration
from damonpolicy.observe.reports.select import Wanted, columns, read_range, selected
from tests.observe.seen import MIB, listed, series, series_by_chance

MADE = series([(0, 2, 20, 0), (2, 4, 1, 10), (8, 8, 0, 100)])


@pytest.mark.parametrize(
    ("wanted", "starts"),
    [
        (Wanted(), [0, 2, 8]),
        (Wanted(size=(3 * MIB, 4 * MIB)), [2]),
        (Wanted(access_rate=(5, 100)), [0, 2]),
        (Wanted(access_rate=(0, 0)), [8]),
        (Wanted(age=(1_000_000, math.inf)), [2, 8]),
        (Wanted(temperature=(-math.inf, 0)), [8]),
        (Wanted(size=(0, 4 * MIB), access_rate=(100, 100)), [0]),
    ],
)
def test_bounds_are_included(wanted, starts):
    assert listed(selected(MADE, wanted).regions.start) == [each * MIB for each in starts]


def test_regions_are_cut_to_addresses_and_what_passed_with_them():
    made = series([(0, 4, 1, 0, -1, 2), (8, 4, 1, 0, -1, 4)])

    found = selected(made, Wanted(address=(3 * MIB, 9 * MIB)))

    assert listed(found.regions.start) == [3 * MIB, 8 * MIB]
    assert listed(found.regions.end) == [4 * MIB, 9 * MIB]
    assert listed(found.regions.passed) == [MIB // 2, MIB]


@given(series_by_chance(), st.integers(0, 60))
def test_two_halves_of_all_addresses_are_all_bytes(made, middle):
    halves = (0, middle * MIB), (middle * MIB, math.inf)
    found = [selected(made, Wanted(address=each)) for each in halves]

    assert sum(each.regions.total for each in found) == made.regions.total


@given(series_by_chance())
def test_hot_and_cold_are_told_apart_by_access(made):
    found = columns(made, (1, 1, 1))

    assert ((found.temperature > 0) == (found.percent > 0)).all()


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("1MiB-1GiB", read_bytes, (MIB, 1 << 30)),
        ("1MiB..", read_bytes, (MIB, math.inf)),
        ("2m-", read_duration, (120_000_000, math.inf)),
        ("-1s", read_duration, (-math.inf, 1_000_000)),
        ("4KiB", read_bytes, (4096, 4096)),
        ("0x1000-0x2000", read_address, (4096, 8192)),
        ("-10..-5", int, (-10, -5)),
    ],
)
def test_ranges(text, read, expected):
    assert read_range(text, read) == expected


@pytest.mark.parametrize("text", ["2MiB-1MiB", "1-2", "x-1MiB", "1MiB-2MiB-3MiB"])
def test_ranges_that_are_none(text):
    with pytest.raises(UnitError):
        read_range(text, read_bytes)
