"""Steps of loops: each law by itself, over its rounding, and against the emulated kernel's."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from damonpolicy.emulated.damon import monitor
from damonpolicy.tuning.loops import State, step

LAW = {"least": "10", "most": "5000", "step": "1/4", "dead_band": "1/20"}
FOLLOW = {**LAW, "law": "follow", "target": "0", "raises": True}
APPROACH = {**LAW, "law": "approach", "target": "900", "raises": True}
GOALS = {"law": "goals", "cap": 1 << 30, "tuner": "consist", "targets": [1_000]}


def run(law, held, numbers):
    """Play numbers; returns the values."""
    state, values = State(), []
    for each in numbers:
        held, state = step(law, held, [Fraction(each)], state)
        values.append(held)
    return values


def test_a_value_follows_a_number_no_faster_than_allowed():
    assert run(FOLLOW, 100, [1_000] * 3) == [125, 156, 195]
    assert run(FOLLOW, 100, [1_000] * 40)[-1] == pytest.approx(1_000, rel=0.05)
    assert run(FOLLOW, 100, [103]) == [100], "near enough"
    assert run(FOLLOW, 4_500, [10**9] * 10)[-1] == 5_000
    assert run(FOLLOW, 20, [0] * 10)[-1] == 10


def test_small_values_move_by_less_than_one():
    """What rounding takes away is remembered, so that no value is stuck."""
    law = {**FOLLOW, "least": "1", "most": "50", "step": "1/10"}
    assert run(law, 2, [50] * 40)[-1] >= 47


@pytest.mark.parametrize("raises", [True, False])
def test_a_loop_comes_to_its_target(raises):
    law, held, state = {**APPROACH, "raises": raises}, 100, State()
    for _ in range(60):
        measured = Fraction(held * 3) if raises else Fraction(400_000, held)
        held, state = step(law, held, [measured], state)
        assert 10 <= held <= 5_000
    assert abs(state.error) <= 0.05
    assert held == pytest.approx(300 if raises else 444, rel=0.06)


def test_what_someone_else_wrote_is_where_it_goes_on_from():
    _, state = step(FOLLOW, 100, [Fraction(1_000)], State())
    assert step(FOLLOW, 1_000, [Fraction(1_000)], state)[0] == 1_000


def test_goals_are_the_kernels_law_step_by_step():
    """Of which the emulated kernel's form is compared with real ones; the most satisfied decides."""
    chance = random.Random(11)
    for tuner in ("consist", "temporal"):
        law = {**GOALS, "tuner": tuner, "targets": [1_000, 7]}
        held, state, inside = 1, State(), 0
        for _ in range(2_000):
            currents = [Fraction(chance.randrange(2_500)), Fraction(chance.randrange(15))]
            score = max(int(currents[0]) * 10_000 // 1_000, int(currents[1]) * 10_000 // 7)
            held, state = step(law, held, currents, state)
            if tuner == "consist":
                inside = monitor.next_input(max(inside, 10_000), score)
            else:
                inside = 0 if score >= 10_000 else (1 << 30) * 10_000
            assert held == max(min(inside // 10_000, 1 << 30), 1)
            assert state.error == pytest.approx(1 - score / 10_000)


def test_goals_go_on_from_the_file_after_a_restart():
    grown, _ = step(GOALS, 1, [Fraction(0)], State())
    assert grown == 2
    assert step(GOALS, 1 << 20, [Fraction(500)], State())[0] == (1 << 20) * 3 // 2


@pytest.mark.parametrize(("least", "expected"), [(True, 13), (False, 12)])
def test_an_age_keeps_its_time_while_aggregations_grow(least, expected):
    law = {"law": "age", "time": 120_000_000, "least": least}
    assert step(law, 1_200, [Fraction(100_000)], State())[0] == 1_200
    assert step(law, 1_200, [Fraction(9_500_000)], State())[0] == expected
    chance = random.Random(3)
    held = 1_200
    for _ in range(500):
        aggregation = Fraction(chance.randrange(100_000, 20_000_000))
        held, _ = step(law, held, [aggregation], State())
        assert held * aggregation >= law["time"] if least else held * aggregation <= law["time"]
