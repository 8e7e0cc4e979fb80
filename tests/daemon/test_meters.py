"""The schedule of sources."""

from __future__ import annotations

from dataclasses import dataclass

from damonpolicy.daemon import meters as module
from damonpolicy.daemon.meters import pause, turns


@dataclass
class Reading:
    name: str
    due: float


@dataclass
class Read:
    lost: float


def test_what_has_waited_longest_comes_first():
    readings = [Reading("a", 3), Reading("later", 9), Reading("b", 1), Reading("c", 2)]

    assert [each.name for each in turns(readings, 5)] == ["b", "c", "a"]


def test_a_round_ends_when_its_time_is_over(monkeypatch):
    readings = [Reading(name, due) for due, name in enumerate("abcd")]
    seconds = iter(range(10))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))

    assert [each.name for each in turns(readings, 5)] == ["a", "b"]


def test_who_took_long_for_nothing_is_let_be():
    assert pause([]) == 0
    assert pause([Read(0.0), Read(0.1)]) == 0
    assert pause([Read(0.1), Read(2.0)]) == 20
