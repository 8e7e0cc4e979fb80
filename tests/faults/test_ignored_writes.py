"""A kdamond never starts with files that do not hold what was written."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.system.machine import KDAMONDS
from tests.faults import kernel
from tests.faults.faulty import TRUSTED, Fault, FaultyMachine
from tests.faults.scenarios import scenarios
from tests.faults.verdict import attempt, violation

START = f"write {KDAMONDS}/0/state on"


THREADS, FED = "accesses-threads-damon-next", "goal-user_input-6.17"
"""A filter on threads breaks a kernel where it has no ids; a goal that is fed 0 starves its quota."""


@pytest.fixture(params=[THREADS])
def first(request):
    """The first apply of a golden policy."""
    chosen = None
    for each in scenarios():
        if each.name == f"{request.param} first":
            chosen = each
        else:
            each.close()
    yield chosen
    chosen.close()


@pytest.mark.parametrize("first", [THREADS, FED], indirect=True)
def test_write_that_got_lost_is_noticed_before_the_start(first):
    made = kernel.calls(first)
    start = made.index(START) + 1
    before = [n for n, call in enumerate(made[:start], 1) if call.startswith("write")][:-1]
    noticed = 0
    for number in before:
        if made[number - 1].endswith(TRUSTED):
            continue
        first.before, first.after  # noqa: B018 — known before anything goes wrong
        first.begin()
        machine = FaultyMachine(first.machine, [Fault(number, "ignored")])
        error = attempt(lambda machine=machine: first.do(machine))
        assert not violation(first, error), made[number - 1]
        assert not first.machine.poisoned
        if error is not None:  # a write of what was there before changes nothing
            assert START not in machine.calls, made[number - 1]
            noticed += 1
    assert noticed > 3


@pytest.mark.parametrize("dies", range(30, 50))
def test_write_that_got_lost_and_a_kdamond_that_ends_break_no_kernel(first, dies):
    made = kernel.calls(first)
    lost = next(n for n, call in enumerate(made, 1) if "/tid_arr " in call)

    code, broken = kernel.tried(first, [Fault(lost, "ignored"), Fault(dies + lost, "dies")])

    assert not broken
    assert code == "80"
