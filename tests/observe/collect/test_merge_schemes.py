"""What the schemes of one kdamond saw, as one: each byte once, in each target, at each time."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.observe.collect.merge import moments, together
from damonpolicy.observe.regions import Intervals, Source
from damonpolicy.observe.temperature import working_set, working_sets
from damonpolicy.plan.facts import Target
from tests.observe.seen import MIB, listed, series

HOT, WARM, COLD = (Source("p/k", name, targets=(Target(1),)) for name in ("hot", "warm", "cold"))


def test_schemes_that_select_different_memory_are_one():
    found = together(
        [
            series([(0, 4, 20, 3)], source=HOT),
            series([(4, 8, 2, 1)], source=WARM),
            series([(12, 90, 0, 9)], source=COLD),
        ]
    )

    assert listed(found.regions.start) == [0, 4 * MIB, 12 * MIB]
    assert (found.source.kdamond, found.source.scheme) == ("p/k", "")
    assert working_set(found.regions) == 12 * MIB


def test_what_two_schemes_select_counts_once():
    found = together(
        [
            series([(0, 4, 20, 3), (4, 4, 1, 3)], source=HOT),
            series([(2, 8, 20, 3)], source=WARM),
        ]
    )

    assert working_set(found.regions) == found.regions.total == 10 * MIB


def test_a_scheme_that_shows_all_stands_for_all():
    everything = series([(0, 4, 20, 3), (4, 4, 0, 3)], source=WARM)
    some = series([(0, 4, 20, 3)], source=HOT)

    assert together([some, everything]).source == WARM
    assert together([some]) is some
    assert len(together([series(source=HOT)])) == 0


def test_each_snapshot_is_put_together_with_those_of_its_time():
    hot = series([(0, 4, 20, 0)], [(0, 8, 20, 0)], [], source=HOT)
    warm = series([(50, 1, 2, 0)], [], [(60, 2, 2, 0)], source=WARM)
    found = together([hot, warm])

    assert listed(working_sets(found)) == [5 * MIB, 8 * MIB, 2 * MIB]


def test_who_is_seen_less_often_counts_as_it_was_last():
    """As in damo's records of schemes with different intervals."""
    often = series(*[[(0, 4, 20, 0)]] * 4, source=HOT)
    second = replace(series([(50, 1, 2, 0)], [(60, 3, 2, 0)], source=WARM),
                     end=often.end[[1, 3]] - 1_000, begin=often.begin[[1, 3]])  # fmt: skip

    assert listed(moments(often, second)) == [0, 0, 1, 1]
    sparse = together([often, replace(second, end=second.end + 10**9)])
    assert listed(working_sets(sparse)) == [4 * MIB] * 4, "nothing was known of it by then"


def test_targets_have_addresses_of_their_own():
    both = Source("p/k", "hot", targets=(Target(1), Target(2)))
    hot = series([(0, 4, 20, 0, 0), (0, 4, 20, 0, 1)], source=both)
    warm = series([(2, 4, 2, 0, 0), (8, 1, 2, 0, 1)], source=replace(both, scheme="warm"))
    found = together([hot, warm])

    assert working_set(found.regions) == (4 + 4 + 2 + 1) * MIB


def test_of_unknown_targets_the_same_row_counts_as_often_as_one_scheme_has_it():
    """The kernel does not tell of which target they are: two may lie at the same addresses."""
    both = Source("p/k", "hot", targets=(Target(1), Target(2)))
    hot = series([(0, 4, 20, 0), (0, 4, 20, 0)], source=both)
    warm = series([(0, 4, 20, 0), (8, 1, 2, 0)], source=replace(both, scheme="warm"))

    assert working_set(together([hot, warm]).regions) == (4 + 4 + 1) * MIB


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=4))
def test_no_byte_counts_twice_and_none_is_lost(places):
    made = [
        series([(2 * at, 2, 1 + at % 3, 0) for at in sorted(set(own))],
               source=Source("p/k", str(number), targets=(Target(1),)),
               intervals=Intervals(5_000, 100_000))
        for number, own in enumerate(places)
    ]  # fmt: skip
    expected = {at for own in places for at in own}

    assert together(made).regions.total == len(expected) * 2 * MIB
