"""The service's record of itself: a file for `status`, written when it changes, and `Figures`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field
from typing import Any

from damonpolicy.base.diagnostics import limit_findings, render_text
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import Guard
from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.daemon.jobs.observe import KdamondSeen, Observation, ObserveJob
from damonpolicy.daemon.jobs.reload import Outcome, Reloader
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.daemon.record import (
    Drifted,
    DriftedFile,
    Failures,
    LastReload,
    Record,
    SchemeGoals,
)
from damonpolicy.daemon.scheduler import Job, beat
from damonpolicy.engine.state_directory import write_json
from damonpolicy.kernel.system.host import starts

__all__ = ("Figures", "RecordJob")

_SHOWN = 5
"""The most drifted files to name."""


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


@dataclass(slots=True)
class RecordJob(Job):
    """The job that keeps the record: after a reload with a new result, and by ``poll`` seconds."""

    reloader: Reloader
    follower: Follower
    feed: FeedJob
    tune: TuneJob
    observe: ObserveJob
    poll: float = 5.0
    due: float = 0.0
    guards: Mapping[str, Guard] = field(default_factory=dict)
    """The guards of the jobs, including this one."""
    told: Callable[[], None] = lambda: None
    """Called after each check for changes."""
    reloads: dict[str, int] = field(default_factory=dict)
    """The number of reloads, by result."""
    good: Outcome | None = None
    """The last reload that brought the machine under its policies."""
    _counted: Outcome | None = None
    _written: dict[str, Any] = field(default_factory=dict)

    def count(self, outcome: Outcome | None) -> None:
        """Record the result of a reload, and write soon: it may also wait for files."""
        self.due = 0.0
        if outcome is not None and outcome is not self._counted:
            self._counted = outcome
            self.reloads[outcome.kind] = self.reloads.get(outcome.kind, 0) + 1
            self.good = outcome if outcome.ok else self.good

    def run(self) -> None:
        """Write the record, if it has changed."""
        self.due = beat(self.reloader.keeper.machine.monotonic(), self.poll)
        self.told()
        data = asdict(self._record())
        if data == self._written:
            return
        try:
            write_json(self.reloader.keeper.places.service, data)
        except DamonPolicyError:
            return  # a full disk: the machine is more important, and it is tried again
        self._written = data

    def remove(self) -> None:
        """Remove the record: the service ends, even if that fails."""
        with contextlib.suppress(OSError):
            self.reloader.keeper.places.service.unlink(missing_ok=True)

    def figures(self) -> Figures:
        """Return the figures of now."""
        observe, outcome = self.observe, self.reloader.outcome
        fine = None if outcome is None else outcome.ok
        seen = observe.last if not observe.trouble else None
        return Figures(
            reloads=dict(self.reloads),
            reloaded_at=self.good.at if self.good else None,
            reload_ok=fine,
            in_force=False if fine is False else None if seen is None else fine and not seen.drift,
            digest=self.good.digest if self.good else "",
            applies=self.reloader.applies,
            rollbacks=self.reloader.keeper.rollbacks,
            commits=self.follower.commits,
            feeds=self.feed.writes,
            drifts=observe.drifts,
            repairs=observe.repairer.repairs,
            errors=dict(self.tune.errors()),
            failures={name: each.failures for name, each in self.guards.items()},
            observation=observe.last,
        )

    def _record(self) -> Record:
        keeper, outcome, pid = self.reloader.keeper, self.reloader.outcome, os.getpid()
        return Record(
            pid=pid,
            start=starts(keeper.machine, pid),
            paths=keeper.paths,
            owner=keeper.owner,
            reload=None if outcome is None else _reload(outcome),
            reloads=dict(self.reloads),
            held=self.reloader.held,
            jobs={
                name: Failures(each.failures, each.trouble)
                for name, each in self.guards.items()
                if each.failures
            },
            following=self.follower.trouble,
            not_followed=tuple(self.follower.waiting()),
            feeds=dict(self.feed.troubles()),
            loops=dict(self.tune.troubles()),
            errors={loop: round(share, 2) for loop, share in self.tune.errors().items()},
            observing=self.observe.trouble,
            drift=self._drift(),
            asked=tuple(each.name for each in self._seen if each.asked),
            unasked=tuple(each.name for each in self._seen if not each.asked),
            schemes={
                f"{kdamond.name}/{each.name}": SchemeGoals(each.goals, each.score, each.trend)
                for kdamond in self._seen
                for each in kdamond.schemes
                if each.goals
            },
        )

    @property
    def _seen(self) -> Sequence[KdamondSeen]:
        return self.observe.last.kdamonds if self.observe.last else ()

    def _drift(self) -> Drifted:
        last, repairer = self.observe.last, self.observe.repairer
        found = last.drift if last else ()
        first = tuple(DriftedFile(**asdict(each)) for each in found[:_SHOWN])
        return Drifted(len(found), first, repairer.repairs, repairer.trouble)


def _reload(outcome: Outcome) -> LastReload:
    findings = render_text(limit_findings(outcome.diagnostics, outcome.texts), outcome.texts)
    return LastReload(outcome.kind, outcome.at, outcome.digest, outcome.message, findings)
