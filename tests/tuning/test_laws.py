"""Control laws: what they are by themselves, and what they make of a plant."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from damonpolicy.emulated import monitor
from damonpolicy.tuning.laws import Bounds, approach, follow, next_input, quota

U64 = (1 << 64) - 1


@pytest.mark.parametrize(
    ("last", "score", "expected"),
    [
        (20_000, 10_000, 20_000),
        (20_000, 0, 40_000),
        (20_000, 5_000, 30_000),
        (20_000, 15_000, 10_000),
        (10**9, 20_000, 10_000),
        (10**9, 19_999, 100_000),
        (U64, 0, U64),
        (10_000, 12_000, 10_000),
    ],
)
def test_the_kernels_own_law(last, score, expected):
    assert next_input(last, score) == expected


def test_it_is_the_one_of_the_emulated_kernel():
    """Which is compared with real ones."""
    chance = random.Random(7)
    for _ in range(20_000):
        last, score = chance.randrange(1 << chance.randrange(1, 65)), chance.randrange(40_000)
        assert next_input(last, score) == monitor.next_input(last, score)


def test_a_quota_is_never_unlimited_and_never_above_its_cap():
    chance = random.Random(7)
    state = 0
    for _ in range(5_000):
        tuner = chance.choice(("consist", "temporal"))
        state, size = quota(state, chance.randrange(30_000), 1 << 30, tuner)
        assert 1 <= size <= 1 << 30
        assert 0 <= state <= U64


def test_temporal_is_open_until_the_goal_is_reached():
    assert quota(0, 9_999, 1 << 30, "temporal") == (0, 1 << 30)
    assert quota(0, 10_000, 1 << 30, "temporal") == (0, 1)


def settles(law, plant, value, target, windows=120):
    """Run a loop; return what was measured in its second half, and all values."""
    values, measured = [], []
    for _ in range(windows):
        measured.append(plant(value))
        value = law(value, measured[-1], target)
        values.append(value)
    return measured[windows // 2 :], values


BOUNDS = Bounds(Fraction(10), Fraction(5_000))


@pytest.mark.parametrize("gain", [Fraction(1, 3), Fraction(1), Fraction(3)])
@pytest.mark.parametrize("start", [10, 100, 4_000])
@pytest.mark.parametrize("raises", [True, False])
def test_a_loop_settles_without_oscillation(gain, start, raises):
    """A plant that answers at once, in proportion or inversely."""
    target = Fraction(900) if raises else Fraction(200)

    def plant(value):
        return value * gain if raises else Fraction(200_000) * gain / value

    def law(value, measured, wanted):
        return approach(value, measured, wanted, BOUNDS, raises=raises)

    late, values = settles(law, plant, Fraction(start), target)
    assert all(abs(each - target) <= target / 20 for each in late), late[-5:]
    assert max(late) - min(late) <= target / 20
    assert all(BOUNDS.least <= each <= BOUNDS.most for each in values)


@pytest.mark.parametrize("share", [Fraction(1, 3), Fraction(2, 3)])
def test_so_does_one_whose_plant_is_slow(share):
    """What is measured comes to its end step by step, a share of the rest in each window."""
    level = Fraction(0)

    def plant(value):
        nonlocal level
        level += (value - level) * share
        return level

    def law(value, measured, wanted):
        return approach(value, measured, wanted, BOUNDS)

    late, values = settles(law, plant, Fraction(50), Fraction(900), windows=200)
    assert all(abs(each - 900) <= 45 for each in late), [float(each) for each in late[-5:]]
    assert all(BOUNDS.least <= each <= BOUNDS.most for each in values)


@pytest.mark.parametrize("target", [Fraction(1), Fraction(10**9)])
def test_bounds_hold_whatever_is_out_of_reach(target):
    _late, values = settles(
        lambda value, measured, wanted: approach(value, measured, wanted, BOUNDS),
        lambda value: value, Fraction(100), target,
    )  # fmt: skip
    assert all(BOUNDS.least <= each <= BOUNDS.most for each in values)
    assert values[-1] == (BOUNDS.least if target == 1 else BOUNDS.most)


def test_no_window_changes_more_than_a_step():
    chance = random.Random(3)
    value = Fraction(400)
    for _ in range(2_000):
        measured = Fraction(chance.randrange(10_000))
        after = approach(value, measured, Fraction(900), BOUNDS)
        assert (
            abs(after - value) <= max(abs(value), (BOUNDS.most - BOUNDS.least) / 100) * BOUNDS.step
        )
        value = after


def test_nothing_is_done_within_the_dead_band():
    assert approach(Fraction(400), Fraction(940), Fraction(900), BOUNDS) == 400
    assert approach(Fraction(400), Fraction(860), Fraction(900), BOUNDS) == 400
    assert approach(Fraction(400), Fraction(850), Fraction(900), BOUNDS) > 400


def test_follow_goes_where_the_measure_is_and_no_faster_than_allowed():
    value = Fraction(100)
    for _ in range(60):
        after = follow(value, Fraction(3_000), BOUNDS)
        assert after <= value + max(value, Fraction(4990, 100)) * BOUNDS.step
        value = after

    assert abs(value - 3_000) <= 150
    assert follow(Fraction(100), Fraction(10**9), BOUNDS) <= BOUNDS.most
