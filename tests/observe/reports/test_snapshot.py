"""One snapshot as a report."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.observe.regions import Source
from damonpolicy.observe.reports.snapshot import KEYS, grouped, merged, view
from damonpolicy.plan.facts import Target
from tests.observe.seen import MIB, listed, series, series_by_chance

ROWS = [(0, 2, 20, 1, 0, 1), (2, 4, 0, 7, 0, 4), (8, 1, 5, 3, 1, 0)]


@pytest.mark.parametrize(
    ("order", "starts"),
    [
        ("address", [0, 2, 8]),
        ("size", [8, 0, 2]),
        ("access_rate", [2, 8, 0]),
        ("age", [0, 8, 2]),
        ("temperature", [2, 0, 8]),
        ("passed", [8, 0, 2]),
    ],
)
def test_orders(order, starts):
    found = view(series(ROWS), 0, order=order)
    backwards = view(series(ROWS), 0, order=order, descending=True)

    assert [start // MIB for start in listed(found.regions.start)] == starts
    assert listed(backwards.regions.start) == listed(found.regions.start)[::-1]


def test_what_it_adds_up_to():
    found = view(series(ROWS), 0)

    assert found.totals() == {
        "total_bytes": 7 * MIB,
        "working_set_bytes": 3 * MIB,
        "bandwidth_bytes_per_second": (2 * 20 + 5) * MIB * 10,
        "passed_bytes": 5 * MIB,
    }


def test_rows_are_plain_data():
    cold = list(view(series(ROWS), 0).rows())[1]

    assert cold == {
        "start": 2 * MIB,
        "end": 6 * MIB,
        "size_bytes": 4 * MIB,
        "accesses": 0,
        "access_percent": 0,
        "age_us": 700_000,
        "idle_us": 800_000,
        "temperature": -70_000_000,
        "target": 0,
        "passed_bytes": 4 * MIB,
        "probe_hits": None,
    }


def test_neighbours_that_are_alike_are_united():
    made = series(
        [(0, 2, 5, 1, 0, 1), (2, 2, 5, 1, 0, 2), (4, 2, 5, 2, 0, 0), (7, 1, 5, 2, 0, 1)],
        [(0, 1, 5, 2, 0, 1)],
    )

    found = merged(made)

    assert [len(each) for each in found] == [3, 1]
    assert listed(found.snapshot(0).size) == [4 * MIB, 2 * MIB, MIB]
    assert listed(found.snapshot(0).passed) == [3 * MIB, 0, MIB]


@given(series_by_chance())
def test_no_byte_is_lost_by_uniting(made):
    found = merged(made)

    assert len(found.regions) <= len(made.regions)
    assert merged(found).regions.total == found.regions.total == made.regions.total
    for before, after in zip(made, found, strict=True):
        assert after.total == before.total
        assert int(after.passed.sum() if after.passed is not None else 0) == int(
            before.passed.sum() if before.passed is not None else 0
        )


@given(series_by_chance(), st.sampled_from(KEYS))
def test_every_order_shows_all_regions(made, order):
    for number in range(len(made)):
        found = view(made, number, order=order)
        assert sorted(listed(found.regions.start)) == sorted(listed(made.snapshot(number).start))


@pytest.mark.parametrize("order", ["size", "age", "access_rate"])
def test_what_is_equal_stays_in_the_order_of_addresses(order):
    rows = [(at, 2, 1, 1) for at in (0, 4, 8)]
    for descending in (False, True):
        found = view(series(rows), 0, order=order, descending=descending)
        assert listed(found.regions.start) == [0, 4 * MIB, 8 * MIB]


def test_groups():
    both = series(ROWS, source=Source("p/k", "all"))
    some = series(ROWS[:1], source=Source("p/k", "some"))

    assert [each.source.scheme for each in grouped([some, both], "scheme")] == ["some", "all"]
    assert [each.source.scheme for each in grouped([some, both], "kdamond")] == ["all"]
    first, second = (
        series(ROWS[:1], source=Source("pid 1", target=target, origin="damo")) for target in (0, 1)
    )
    found = grouped([first, second, first], "kdamond")
    assert [each.source.target for each in found] == [0, 1], "of which neither shows the other"
    old = [replace(first.source, target=-1, targets=(Target(id=each),)) for each in (7, 8)]
    assert len(grouped([replace(first, source=each) for each in old], "kdamond")) == 2
    parts = grouped([both], "target")
    assert [each.source.target for each in parts] == [0, 1]
    assert sum(each.regions.total for each in parts) == 7 * MIB
    (nothing,) = grouped([series([])], "target")
    assert len(nothing) == 1, "a snapshot without regions is one, too"
