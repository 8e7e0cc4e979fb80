"""The first cases of each fuzzer; `python -m tests.fuzz.NAME --count N` runs more."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from damonpolicy.engine import machines
from tests.conftest import Outcome
from tests.fuzz import files, harness, policies, records


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """Cases run here, not in processes of their own."""
    monkeypatch.setattr(machines, "open_machine", machines.open_machine)


@pytest.mark.parametrize(
    ("case", "count"),
    [(policies.case, 150), (records.case, 60), (files.case, 40)],
    ids=["policies", "records", "files"],
)
def test_no_case_goes_wrong(case, count, tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 10.0)  # coverage makes it some times slower
    tally = harness.Tally()
    with harness.limited():
        for number in range(count):
            harness.judged(case, number, tmp_path, tally)

    assert tally.wrong == []
    assert sum(tally.codes.values()) == count


def bad(number: int, place: Path) -> Outcome | None:
    """Go wrong in every way that a case may."""
    if number == 1:
        raise ValueError("no file")
    if number == 2:
        while True:
            pass
    if number == 3:
        bytearray(1 << 30)
    return Outcome(70 if number == 4 else 0, "", "")


def test_what_goes_wrong_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "HANGS", 0.2)
    tally = harness.run(bad, range(6))

    assert [each.split(":")[0] for each in tally.wrong] == ["1", "2", "3", "4"]
    assert "ValueError: no file" in tally.wrong[0]
    assert "hangs" in tally.wrong[1]
    assert "MemoryError" in tally.wrong[2]
    assert tally.codes == {0: 2, 70: 1}


def ends(number: int, place: Path) -> Outcome:
    """End the process."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(0, "", "")


def test_what_ends_its_process_is_told_and_the_rest_is_tried():
    tally = harness.run(ends, range(5))

    assert [each.split(",")[0] for each in tally.wrong] == ["2: ends the process"]
    assert tally.codes == {0: 4}
