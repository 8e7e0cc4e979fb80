"""A fixed part of the long runs of this folder's commands."""

from __future__ import annotations

import itertools
import shutil
from types import SimpleNamespace

import pytest

from tests.faults import explore, kernel
from tests.faults.own import run as own
from tests.faults.scenarios import OPERATIONS, Scenario, scenarios

pytestmark = pytest.mark.unmeasured  # forks, and thousands of transactions

EVERY = 7
"""One scenario in so many is tried."""


@pytest.mark.parametrize("part", range(4))
def test_faults_of_the_kernels_answers_leave_before_or_after(part):
    for number, scenario in enumerate(scenarios()):
        if number % (4 * EVERY) == part * EVERY:
            for faults in kernel.cases(scenario, 6, 9, seed=7):
                code, broken = kernel.tried(scenario, faults)
                assert not broken, (scenario.name, faults, code)
        scenario.close()


@pytest.mark.skipif(not shutil.which("gcc"), reason="the shim below Python has to be compiled")
@pytest.mark.parametrize("scenario", own.SCENARIOS)
def test_faults_of_our_own_files_leave_before_or_after(scenario, tmp_path):
    library = own.compiled(str(tmp_path))
    counts, broken = own.run([f"{scenario}@7.3"], 45, 12, 1, library)

    assert not broken
    assert sum(counts.values()) == 57


def test_faults_of_our_own_files_are_spread_over_all_calls():
    """A1: behind the commit point, too; every error comes with every mode."""
    made = {"once": 70, "short": 14, "killed": 130}
    start = SimpleNamespace(calls=lambda shim, mode: made[mode])
    few, many = (list(own.cases(start, None, files, 12)) for files in (45, 5 * 130))
    for mode in own.FAULTS:
        calls = made.get(mode, made["killed" if mode in own.ENDS else "once"])
        places = sorted(at for each, at, _ in few if each == mode)
        steps = [after - before for before, after in itertools.pairwise((1, *places, calls))]
        assert max(steps) <= calls / 9 + 2, mode
        assert {at for each, at, _ in many if each == mode} == set(range(1, calls + 1))
    assert {each[::2] for each in few[:30]} == set(itertools.product(own.FAULTS, own.ERRORS))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_two_events_in_a_row_leave_before_or_after(operation):
    counts, broken = explore.explored(operation, 0, 1, stride=397)

    assert not broken
    assert counts[operation] > 20


def test_a_fault_that_is_not_undone_is_found(monkeypatch):
    """The verdict can fail: without an undo, hardly anything is as it was."""
    scenario = Scenario("a", "7.3", None, explore.TEXT, "online")
    scenario.before, scenario.after  # noqa: B018
    monkeypatch.setattr("damonpolicy.engine.finish.undo", lambda *_, **__: _nothing())
    broken = [kernel.tried(scenario, faults)[1] for faults in kernel.cases(scenario, 20, 0, seed=1)]
    scenario.close()

    assert any(broken)


def _nothing():
    from damonpolicy.engine.undo_context import Undone

    return Undone()
