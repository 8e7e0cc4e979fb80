"""Bytes that several sources saw count once, on hand-computed cases and in general."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.observe.collect.merge import (
    Part,
    counted,
    filtered,
    in_ranges,
    known_target,
    only_cgroups,
    rounds,
    seen,
)
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.plan.facts import Target
from tests.observe.facts import filtering

TENTH = Intervals(5_000, 100_000)
"""20 samples of an aggregation of 0.1 s."""


def part(*regions, intervals=TENTH, passed=None, **source):
    columns = list(zip(*regions, strict=True)) or [(), (), (), ()]
    return Part(Source("p/k", **source), intervals, Regions.of(*columns, passed=passed))


def test_each_region_has_the_numbers_of_its_formulas():
    now = seen([part((0, 1000, 20, 3), (1000, 3000, 0, 4))])
    assert now.bytes.tolist() == [1000, 2000]
    # 20 samples of a tenth of a second found 1000 bytes: 20 * 1000 / 0.1 s
    assert now.rate.tolist() == [200_000.0, 0.0]
    assert now.percent.tolist() == [100, 0]
    # 100 * 100 % + 100 * 300,000 us; and the negative of 100 * 400,000 us
    assert now.temperature.tolist() == [30_010_000.0, -40_000_000.0]
    assert now.idle.tolist() == [0, 500_000]
    assert now.total == 3000
    assert now.bandwidth == 200_000.0
    assert now.mean_temperature == pytest.approx((30_010_000 * 1000 - 40_000_000 * 2000) / 3000)


def test_idle_bytes_are_those_idle_for_at_least_so_long():
    now = seen([part((0, 1000, 20, 3), (1000, 3000, 0, 4), (3000, 3500, 0, 0))])
    assert now.idle_for(500_000) == 2000
    assert now.idle_for(500_001) == 0
    assert now.idle_for(100_000) == 2500
    assert now.idle_for(0) == 2500, "what is accessed is not idle for no time at all"


def test_what_an_earlier_part_saw_is_cut_off():
    first, second = part((100, 200, 10, 0)), part((0, 300, 20, 0))
    now = seen([first, second])
    assert list(zip(now.start, now.end, strict=True)) == [(0, 100), (100, 200), (200, 300)]
    assert now.bytes.tolist() == [100, 100, 100]
    # 100 bytes of 20 samples, 100 of 10, 100 of 20, in a tenth of a second
    assert now.rate.tolist() == [20_000, 10_000, 20_000]
    assert now.total == 300


def test_the_same_regions_of_two_schemes_count_once():
    one = part((0, 100, 1, 0), (100, 300, 2, 0), scheme="a")
    two = part((0, 100, 1, 0), (100, 300, 2, 0), scheme="b")
    assert seen([one, two]).total == 300
    assert seen([one, two]).bandwidth == seen([one]).bandwidth


def test_what_passed_page_filters_counts():
    source = {"filters": filtering("allow anon; the rest is rejected")}
    now = seen([part((0, 1000, 10, 0), (1000, 2000, 0, 9), passed=[400, 100], **source)])
    assert now.bytes.tolist() == [400, 100]
    assert now.rate.tolist() == [40_000, 0]


def test_filters_of_whole_regions_pass_all_that_was_tried():
    source = {"filters": filtering("reject what is not target 1; the rest is taken")}
    regions = part((0, 1000, 10, 0), passed=[0], **source)
    assert not filtered(regions.source)
    assert counted(regions.source, regions.regions).tolist() == [1000]


def test_a_part_of_what_passed_counts_by_its_length():
    whole = part((0, 500, 0, 0))
    some = part(
        (0, 1000, 10, 0), passed=[400], filters=filtering("allow anon; the rest is rejected")
    )
    now = seen([some, whole])
    assert now.bytes.tolist() == [500, 200], "what all of passes comes first"
    assert now.rate.tolist() == [0, 20_000]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("allow memcg /a; the rest is rejected", "/a"),
        ("allow memcg /a; allow memcg /b; allow memcg /b/c; the rest is rejected", "/a, /b"),
        ("reject what is not memcg /a; the rest is taken", "/a"),
        ("reject what is not memcg /a; allow anon; the rest is rejected", "/a"),
        ("allow anon; reject what is not memcg /a; the rest is taken", ""),
        ("allow anon; allow memcg /a; the rest is rejected", ""),
        ("allow what is not memcg /a; the rest is rejected", ""),
        ("reject memcg /a; the rest is taken", ""),
        ("", ""),
    ],
)
def test_the_only_cgroup_that_filters_let_through(filters, expected):
    assert ", ".join(only_cgroups(Source("k", filters=filtering(filters)))) == expected


def of_cgroup(path, passed):
    words = f"allow memcg {path}; the rest is rejected"
    return part((0, 1000, 10, 0), passed=[passed], filters=filtering(words))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("/a", "/b"), 700),
        (("/a", "/ab"), 700),
        (("/a", "/a"), 400),
        (("/a/b", "/a"), 400),
        (("/a and 1 below it", "/a"), 700),
        (("/a, /b", "/b"), 700),
        (("/", "/a"), 400),
    ],
)
def test_pages_of_different_cgroups_are_different(paths, expected):
    assert seen([of_cgroup(path, size) for path, size in zip(paths, (400, 300), strict=True)]
                ).total == expected  # fmt: skip


def test_a_filter_that_names_no_cgroup_may_let_the_same_pages_through():
    other = part(
        (0, 1000, 10, 0), passed=[600], filters=filtering("allow anon; the rest is rejected")
    )
    assert seen([of_cgroup("/a", 400), of_cgroup("/b", 300), other]).total == 400


def test_what_is_seen_whole_is_seen_once_beside_cgroups():
    whole = part((0, 500, 0, 0))
    now = seen([of_cgroup("/a", 400), whole, of_cgroup("/b", 300)])
    assert sorted(now.bytes.tolist()) == [150, 200, 500]


def test_more_can_not_pass_than_there_is():
    some = part(
        (0, 1000, 10, 0), passed=[4000], filters=filtering("allow anon; the rest is rejected")
    )
    assert seen([some]).total == 1000


def test_nothing_was_seen():
    now = seen([])
    assert (now.total, now.bandwidth, now.mean_temperature) == (0, 0.0, None)
    assert seen([part(), part()]).total == 0


def test_snapshots_are_paired_from_their_ends():
    def made(*sizes):
        return series_of(
            Source("p/k"),
            [(n, n, TENTH, Regions.of([0], [size], [0], [0])) for n, size in enumerate(sizes)],
        )

    sizes = [
        [each.regions.total for each in parts] for parts in rounds([made(1, 2, 3), made(5, 6)])
    ]
    assert sizes == [[3, 6], [2, 5]]
    assert list(rounds([])) == []
    assert [len(parts) for parts in rounds([made(1), made()])] == [1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Source("k", targets=(Target(1),)), [0]),
        (Source("k", ops="paddr"), [0]),
        (Source("k", target=2, targets=(Target(1), Target(2), Target(3))), [2]),
        (Source("k", targets=(Target(1), Target(2))), [-1]),
        (Source("k"), [-1]),
    ],
)
def test_a_target_is_known_where_only_one_is_possible(source, expected):
    series = series_of(source, [(0, 0, TENTH, Regions.of([0], [1], [0], [0]))])
    assert known_target(series).regions.target.tolist() == expected


def test_targets_that_trace_events_tell_stay():
    regions = Regions.of([0, 0], [1, 1], [0, 0], [0, 0], target=[0, 1])
    series = series_of(Source("k", targets=(Target(1),)), [(0, 0, TENTH, regions)])
    assert known_target(series).regions.target.tolist() == [0, 1]


def test_bytes_within_ranges():
    start, end = np.array([0, 50, 100, 0]), np.array([10, 250, 400, 1000])
    assert in_ranges(start, end, [(100, 200), (300, 500)]).tolist() == [0, 100, 200, 300]
    assert in_ranges(start, end, []).tolist() == [0, 0, 0, 0]
    assert in_ranges(start, end, [(0, 100), (100, 2000)]).tolist() == [10, 200, 300, 1000]


ROWS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(0, 20), st.integers(0, 9)),
    max_size=8,
)


def disjoint(rows):
    """Regions of one snapshot: ascending, none over another."""
    place, found = 0, []
    for gap, size, accesses, age in rows:
        found.append((place + gap % 7, place + gap % 7 + size, accesses, age))
        place = found[-1][1]
    return found


@given(st.lists(ROWS, max_size=4))
def test_each_byte_counts_once(given_rows):
    parts = [part(*disjoint(rows)) for rows in given_rows]
    now = seen(parts)
    covered = {
        byte
        for each in parts
        for start, end in zip(each.regions.start, each.regions.end, strict=True)
        for byte in range(int(start), int(end))
    }
    pieces = list(zip(now.start.tolist(), now.end.tolist(), strict=True))
    assert now.total == len(covered)
    assert sum(end - start for start, end in pieces) == len(covered)
    assert {byte for start, end in pieces for byte in range(start, end)} == covered


@given(ROWS, st.lists(st.tuples(st.integers(0, 100), st.integers(0, 40)), max_size=4))
def test_bytes_inside_and_outside_of_ranges_are_all_bytes(rows, spans):
    now = seen([part(*disjoint(rows))])
    ranges = [(low, low + size) for low, size in spans]
    inside = {byte for low, high in ranges for byte in range(low, high)}
    expected = [
        sum(byte in inside for byte in range(start, end))
        for start, end in zip(now.start.tolist(), now.end.tolist(), strict=True)
    ]
    assert in_ranges(now.start, now.end, ranges).tolist() == expected
