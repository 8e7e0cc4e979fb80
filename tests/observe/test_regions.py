"""Columns of regions, and series of snapshots."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from damonpolicy.observe.regions import Regions, Source
from damonpolicy.plan.facts import Target
from tests.observe.seen import MIB, listed, series, series_by_chance


def test_snapshots_are_rows_between_offsets():
    made = series([(0, 2, 1, 0), (4, 1, 0, 3)], [], [(0, 8, 20, 1)])

    assert len(made) == 3
    assert [len(each) for each in made] == [2, 0, 1]
    assert made.snapshot(-1).total == 8 * MIB
    assert listed(made.of_row) == [0, 0, 2]
    assert made.intervals(0).samples == 20


def test_between_takes_snapshots_with_their_rows():
    made = series([(0, 2, 1, 0)], [(4, 1, 0, 3), (5, 1, 0, 3)], [(0, 8, 20, 1)]).between(1, 3)

    assert [len(each) for each in made] == [2, 1]
    assert listed(made.offsets) == [0, 2, 3]
    assert listed(made.snapshot(0).start) == [4 * MIB, 5 * MIB]


@given(series_by_chance())
def test_rows_of_a_mask_and_of_its_opposite_are_all(made):
    hot = made.regions.accesses > 0
    parts = made.where(hot), made.where(~hot)

    assert sum(each.regions.total for each in parts) == made.regions.total
    for number in range(len(made)):
        split = [each.snapshot(number).total for each in parts]
        assert sum(split) == made.snapshot(number).total


def test_columns_that_one_part_lacks_are_left_out():
    told = Regions.of([0], [1], [0], [0], passed=[1], hits=[[3, 4]])
    other = Regions.of([1], [2], [0], [0])

    both = Regions.joined([told, other])

    assert both.passed is None
    assert both.hits is None
    assert Regions.joined([told, told]).hits.shape == (2, 2)
    assert len(Regions.joined([])) == 0


def test_addresses_may_take_all_64_bits():
    regions = Regions.of([(1 << 64) - 4096], [(1 << 64) - 1], [1], [1])

    assert regions.total == 4095
    assert regions.start.dtype == np.uint64


def test_a_source_is_called_by_what_is_known_of_it():
    source = Source("p/k", "s", target=1, targets=(Target(1), Target(2, "nginx")))

    assert source.name == "p/k, scheme s, target 1 (pid 2 (nginx))"
    assert Source("slot 3").name == "slot 3"
    assert Source("p/k", target=5).name == "p/k, target 5"
