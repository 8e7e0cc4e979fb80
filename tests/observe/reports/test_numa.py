"""Accesses of each node's CPUs to each node's memory, and hot and cold memory by node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.observe.reports.numa import cpus_counted, matrices, placement
from tests.observe.facts import counting
from tests.observe.facts import filtering as only

TENTH = Intervals(5_000, 100_000)
RAM = {0: [(0, 1000)], 1: [(2000, 3000)]}
CPUS = {0: (0, 1), 1: (2, 3)}


def series(accesses, *regions, kdamond="numa/k", ops="paddr", passed=None, filters=""):
    columns = list(zip(*regions, strict=True)) or [(), (), (), ()]
    source = Source(kdamond, ops=ops, accesses=counting(accesses), filters=only(filters))
    return series_of(source, [(1, 2, TENTH, Regions.of(*columns, passed=passed))])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("all of CPUs 0-3", (0, 1, 2, 3)),
        ("writes of CPU 3", (3,)),
        ("all of CPUs 0-1, 8 and thread 17", (0, 1, 8)),
        ("writes of thread 17", ()),
        ("all", ()),
        ("all of CPUs 3-1", ()),
    ],
)
def test_the_cpus_whose_accesses_count(words, expected):
    assert cpus_counted(counting(words)) == expected


def test_hits_and_misses():
    zero = series("all of CPUs 0-1", (0, 1000, 10, 0), (2000, 3000, 4, 0), kdamond="numa/0")
    one = series("all of CPUs 2-3", (500, 1000, 2, 0), (2000, 2500, 20, 0), kdamond="numa/1")
    (matrix,) = matrices([one, zero], RAM, CPUS)
    assert (matrix.counts, matrix.nodes) == ("all", (0, 1))
    first, second = matrix.rows
    assert (first.node, first.cpus, first.kdamonds) == (0, (0, 1), ("numa/0",))
    # 1000 bytes of 10 and of 4 samples, 500 of 2 and of 20, each in a tenth of a second
    assert first.rates == {0: 100_000.0, 1: 40_000.0, None: 0.0}
    assert second.rates == {0: 10_000.0, 1: 100_000.0, None: 0.0}
    assert (first.hit, first.miss) == (100_000.0, 40_000.0)
    assert (second.hit, second.miss) == (100_000.0, 10_000.0)
    assert matrix.total == 250_000.0
    assert matrix.share(first.hit + second.hit) == 0.8


def test_a_region_across_nodes_is_shared_by_its_bytes():
    (matrix,) = matrices([series("all of CPU 0", (500, 2500, 20, 0))], RAM, CPUS)
    (row,) = matrix.rows
    assert row.rates == {0: 100_000.0, 1: 100_000.0, None: 200_000.0}
    assert matrix.nodes == (0, 1, None)
    assert row.hit + row.miss + row.rates[None] == row.total


def test_cpus_of_several_nodes_neither_hit_nor_miss():
    (matrix,) = matrices([series("all of CPUs 0-3", (0, 1000, 20, 0))], RAM, CPUS)
    (row,) = matrix.rows
    assert (row.node, row.hit, row.miss, row.total) == (None, 0.0, 0.0, 200_000.0)


def test_cpus_that_no_node_has_are_of_none():
    (matrix,) = matrices([series("all of CPUs 0,9", (0, 1000, 20, 0))], RAM, CPUS)
    assert matrix.rows[0].node is None


def test_writes_and_all_accesses_are_two_matrices():
    found = matrices(
        [series("all of CPU 0", (0, 10, 1, 0)), series("writes of CPU 0", (0, 10, 1, 0))],
        RAM,
        CPUS,
    )
    assert [each.counts for each in found] == ["all", "writes"]


def test_kdamonds_of_the_same_cpus_count_once():
    one = series("all of CPU 0", (0, 1000, 10, 0), kdamond="a/0")
    two = series("all of CPU 0", (0, 1000, 10, 0), (2000, 3000, 1, 0), kdamond="b/0")
    (matrix,) = matrices([one, two], RAM, CPUS)
    assert matrix.rows[0].rates == {0: 100_000.0, 1: 10_000.0, None: 0.0}
    assert matrix.rows[0].kdamonds == ("a/0", "b/0")


def test_without_cpu_sampling_or_physical_addresses_there_is_no_matrix():
    assert matrices([], RAM, CPUS) == []
    assert matrices([series("all", (0, 10, 1, 0))], RAM, CPUS) == []
    assert matrices([series("all of CPU 0", (0, 10, 1, 0), ops="vaddr")], RAM, CPUS) == []


def test_nothing_accessed_has_no_share():
    (matrix,) = matrices([series("all of CPU 0")], RAM, CPUS)
    assert matrix.total == 0
    assert matrix.share(0.0) is None


def test_hot_warm_and_cold_bytes_of_each_node():
    found = placement(
        [
            series(
                "all",
                (0, 600, 20, 0),
                (600, 1000, 9, 0),
                (2000, 2100, 0, 0),
                (2100, 3000, 0, 9),
                (3000, 3010, 10, 0),
            )
        ],
        RAM,
        idle_for=1_000_000,
    )
    amounts = {each.node: (each.hot, each.warm, each.cold, each.rate) for each in found}
    assert amounts == {
        0: (600, 400, 0, 120_000.0 + 36_000.0),
        1: (0, 100, 900, 0.0),
        None: (10, 0, 0, 1000.0),
    }
    assert sum(each.total for each in found) == 2010


def test_what_passed_filters_is_placed():
    found = placement(
        [
            series(
                "all", (500, 1000, 0, 99), passed=[200],
                filters="allow anon; the rest is rejected",
            )
        ],
        RAM,
        idle_for=1_000_000,
    )  # fmt: skip
    assert [(each.node, each.cold) for each in found] == [(0, 200), (1, 0)]


def test_virtual_addresses_have_no_node():
    found = placement([series("all", (0, 10, 1, 0), ops="vaddr")], RAM, idle_for=1)
    assert [each.total for each in found] == [0, 0]


REGIONS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 900), st.integers(0, 20), st.integers(0, 20)),
    max_size=8,
)


def laid(rows):
    place, found, passed = 0, [], []
    for gap, size, accesses, age in rows:
        found.append((place + gap, place + gap + size, accesses, age))
        passed.append(size * age // 20)
        place = found[-1][1]
    return found, passed


@given(REGIONS, st.booleans())
def test_no_byte_is_lost_between_nodes(rows, filtering):
    regions, passed = laid(rows)
    held = series(
        "all", *regions, passed=passed,
        filters="allow anon; the rest is rejected" if filtering else "",
    )  # fmt: skip
    found = placement([held], RAM, idle_for=500_000)
    sizes = [end - start for start, end, _, _ in regions]
    assert sum(each.total for each in found) == sum(passed if filtering else sizes)
    assert all(min(each.hot, each.warm, each.cold) >= 0 for each in found)


@given(REGIONS, REGIONS)
def test_shares_add_up_to_one(zero, one):
    both = [
        series("all of CPUs 0-1", *laid(zero)[0]),
        series("all of CPUs 2-3", *laid(one)[0]),
    ]
    (matrix,) = matrices(both, RAM, CPUS)
    shares = [matrix.share(rate) for row in matrix.rows for rate in row.rates.values()]
    if matrix.total:
        assert sum(shares) == pytest.approx(1)
        assert all(share >= 0 for share in shares)
    else:
        assert set(shares) <= {None}
