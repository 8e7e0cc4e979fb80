"""How guests use DAMON's files while somebody holds its lock: on a file that is busy twice."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from damonpolicy.kernel.system.machine import LiveMachine

from .inside import patient


class File:
    """A file that refuses, until all errors have been told; knows how often it was asked."""

    def __init__(self, *errors: int) -> None:
        self.errors, self.asked, self.text = list(errors), 0, ""

    def _ask(self) -> None:
        self.asked += 1
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))

    def write_text(self, text: str, encoding: str) -> None:
        self._ask()
        self.text = text.encode(encoding).decode("ascii")

    def read_text(self, encoding: str) -> str:
        self._ask()
        return "on\n".encode(encoding).decode("ascii")


def by_path(file: File, _: pytest.MonkeyPatch) -> None:
    patient.write(file, 70)  # type: ignore[arg-type]
    assert file.text == "70"


def by_machine(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: LiveMachine, path: str, text: str) -> None:
        file.write_text(f"{path} {text}", "ascii")

    monkeypatch.setattr(LiveMachine, "write", write)
    patient.Patient().write("state", "on")
    assert file.text == "state on"


def by_reading(file: File, _: pytest.MonkeyPatch) -> None:
    assert patient.read(file) == "on\n"  # type: ignore[arg-type]


Way = Callable[[File, pytest.MonkeyPatch], None]
WAYS = pytest.mark.parametrize("way", [by_path, by_machine, by_reading])


class Clock:
    """A time of its own, which only sleeping lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(patient, "time", clock)
    return clock


@WAYS
def test_what_is_busy_is_done_again(
    way: Way, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    file = File(errno.EBUSY, errno.EBUSY)
    way(file, monkeypatch)

    assert file.asked == 3
    assert 0 < clock.now < 1


@WAYS
def test_another_error_is_told_at_once(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    file = File(errno.EINVAL)
    with pytest.raises(OSError, match="Invalid argument"):
        way(file, monkeypatch)

    assert file.asked == 1


@WAYS
def test_what_stays_busy_is_told_in_the_end(
    way: Way, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    with pytest.raises(OSError, match="busy"):
        way(File(*[errno.EBUSY] * 100_000), monkeypatch)

    assert clock.now > 60
