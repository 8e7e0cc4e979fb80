"""The service's record of itself: its job writes it, `status` and other commands read it.

The standard library is enough for it, as commands read it that need no policy language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, get_type_hints

from damonpolicy.base import typed
from damonpolicy.base.lazy import dataclass

__all__ = (
    "Drifted",
    "DriftedFile",
    "Failures",
    "GoalSeen",
    "LastReload",
    "Record",
    "SchemeGoals",
    "Waiting",
    "check",
)


@dataclass(frozen=True, slots=True)
class LastReload:
    """The result of the last reload."""

    result: str
    at: float
    digest: str
    message: str
    findings: str


@dataclass(frozen=True, slots=True)
class Failures:
    """A job that has failed; without ``trouble`` it works again."""

    failures: int
    trouble: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Processes that a kdamond does not monitor yet, and the reason."""

    kdamond: str
    pids: tuple[int, ...]
    more: int
    why: str


@dataclass(frozen=True, slots=True)
class DriftedFile:
    """A file that drifted, as `observe.status.document.Drift`."""

    where: str
    path: str
    committed: str
    found: str
    said: str = field(default="", metadata=typed.LATER)
    gone: bool = field(default=False, metadata=typed.LATER)


@dataclass(frozen=True, slots=True)
class Drifted:
    """The drift that the service saw, and what it did."""

    files: int
    first: tuple[DriftedFile, ...]
    repairs: int
    cannot_repair: str


@dataclass(frozen=True, slots=True)
class GoalSeen:
    """Progress of a goal: its value in its metric's unit and its score, or a reason."""

    current: int | None = None
    score: int | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class SchemeGoals:
    """Progress of a scheme's goals, their score, and the direction of its quota."""

    goals: tuple[GoalSeen, ...]
    score: int | None
    trend: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """What a service says of itself; an older one does not say what is of `typed.LATER`."""

    pid: int
    start: int
    paths: tuple[str, ...]
    owner: str = field(metadata=typed.LATER)
    reload: LastReload | None
    reloads: Mapping[str, int] = field(metadata=typed.LATER)
    held: tuple[str, ...] = field(metadata=typed.LATER)
    jobs: Mapping[str, Failures] = field(metadata=typed.LATER)
    following: str
    not_followed: tuple[Waiting, ...] = field(metadata=typed.LATER)
    feeds: Mapping[str, str]
    loops: Mapping[str, str]
    errors: Mapping[str, float] = field(metadata=typed.LATER)
    observing: str
    drift: Drifted
    asked: tuple[str, ...] = field(metadata=typed.LATER)
    unasked: tuple[str, ...] = field(metadata=typed.LATER)
    schemes: Mapping[str, SchemeGoals]


def check(found: Mapping[str, Any]) -> None:
    """Check a record that was read; raises ValueError. A newer service may say more."""
    hints = get_type_hints(Record)
    for each in fields(Record):
        if each.name in found or not each.metadata:
            typed.value(hints[each.name], found.get(each.name), f"`{each.name}`")
