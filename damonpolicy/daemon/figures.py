"""A service's counts and observations, as one immutable value: `Figures`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.jobs.observe import Observation
from damonpolicy.daemon.jobs.status_file import RecordJob

__all__ = ("Figures", "figures")


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of the last observation; counts since the start, times since the epoch (s)."""

    reloads: Mapping[str, int] = field(default_factory=dict)
    reloaded_at: float | None = None
    reload_ok: bool | None = None
    """Whether the last reload brought the machine under its files; None before the first."""
    in_force: bool | None = None
    """Whether that still holds, without drift; None if unknown."""
    digest: str = ""
    applies: int = 0
    rollbacks: int = 0
    commits: int = 0
    feeds: int = 0
    drifts: int = 0
    repairs: int = 0
    errors: Mapping[str, float] = field(default_factory=dict)
    """The error of each loop, as a share of its target."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """The number of failures of each job, by name."""
    observation: Observation | None = None


def figures(record: RecordJob, errors: Callable[[], Mapping[str, float]] = dict) -> Figures:
    """Return the figures; ``errors`` are those of the loops of `tuning`, by name."""
    tally, observe = record.reloader.tally, record.observe
    last = record.reloader.outcome
    fine = None if last is None else last.ok
    seen = observe.last if not observe.trouble else None
    return Figures(
        reloads=dict(record.reloads),
        reloaded_at=record.good.at if record.good else None,
        reload_ok=fine,
        in_force=False if fine is False else None if seen is None else fine and not seen.drift,
        digest=record.good.digest if record.good else "",
        applies=tally.applies,
        rollbacks=tally.rollbacks,
        commits=record.follower.commits,
        feeds=record.feed.writes,
        drifts=observe.drifts,
        repairs=observe.repairer.repairs,
        errors=dict(errors()),
        failures={name: each.failures for name, each in record.guards().items()},
        observation=observe.last,
    )
