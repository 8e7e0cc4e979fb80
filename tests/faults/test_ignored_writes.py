"""A kdamond never starts with files that do not hold what was written."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.sysfs import KDAMONDS
from tests.faults import kernel
from tests.faults.faulty import TRUSTED, Fault, FaultyMachine
from tests.faults.scenarios import scenarios
from tests.faults.verdict import attempt, violation

START = f"write {KDAMONDS}/0/state on"


@pytest.fixture
def threads():
    """The first apply of a filter on threads, which breaks a kernel where it has no ids."""
    chosen = None
    for each in scenarios():
        if each.name == "accesses-threads-damon-next first":
            chosen = each
        else:
            each.close()
    yield chosen
    chosen.close()


def test_write_that_got_lost_is_noticed_before_the_start(threads):
    made = kernel.calls(threads)
    start = made.index(START) + 1
    before = [n for n, call in enumerate(made[:start], 1) if call.startswith("write")][:-1]
    noticed = 0
    for number in before:
        if made[number - 1].endswith(TRUSTED):
            continue
        threads.before, threads.after  # noqa: B018 — known before anything goes wrong
        threads.begin()
        machine = FaultyMachine(threads.machine, [Fault(number, "ignored")])
        error = attempt(lambda machine=machine: threads.do(machine))
        assert not violation(threads, error), made[number - 1]
        assert not threads.machine.poisoned
        if error is not None:  # a write of what was there before changes nothing
            assert START not in machine.calls, made[number - 1]
            noticed += 1
    assert noticed > 3


@pytest.mark.parametrize("dies", range(30, 50))
def test_write_that_got_lost_and_a_kdamond_that_ends_break_no_kernel(threads, dies):
    made = kernel.calls(threads)
    lost = next(n for n, call in enumerate(made, 1) if "/tid_arr " in call)

    code, broken = kernel.tried(threads, [Fault(lost, "ignored"), Fault(dies + lost, "dies")])

    assert not broken
    assert code == "80"
