"""What counts as a success in the measurement of processes that come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from .inside import churn
from .inside.churn import Churn

STARTS = [10.0 + each for each in range(10)]


def result(waits: list[float], **more: object) -> Churn:
    """Return what came of ten processes that lived for 3 s, and of one that did not live long."""
    found = Churn({1000: (10.0, 1.5)}, alive=True, began=10.0, ended=60.0)
    for number, (start, wait) in enumerate(zip(STARTS, waits, strict=True)):
        found.lives[number] = (start, 3.0)
        if wait < float("inf"):
            found.joined[number] = start + wait
    for name, value in more.items():
        setattr(found, name, value)
    return found


NEVER = float("inf")


@pytest.mark.parametrize(
    ("found", "good"),
    [
        (result([0.3] * 10), True),
        (result([1.9] * 6 + [2.9] * 4), True),
        (result([0.3] * 4 + [2.1] * 6), False),
        (result([0.3] * 9 + [NEVER]), True),
        (result([0.3] * 8 + [NEVER] * 2), False),
        (result([0.3] * 10, alive=False), False),
        (result([0.3] * 10, wrong=["pid 7"]), False),
        (result([0.3] * 10, jobs=["it broke"]), False),
        (Churn({}, alive=True, began=10.0, ended=60.0), False),
    ],
)
def test_late_few_or_wrong_is_none(
    found: Churn, *, good: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(churn.sys, "argv", ["churn", "100", "60"])
    monkeypatch.setattr(churn.tempfile, "mkdtemp", lambda **_: str(tmp_path))
    monkeypatch.setattr(churn, "churned", lambda *_: found)

    assert churn.main() == int(not good)


def test_the_line_has_the_figures() -> None:
    line = str(result([0.3] * 4 + [2.1] * 6))

    assert "10 of them live 2 s or more: 100.0% joined, median 2.10 s;" in line
