"""The loop of the service: jobs that are due, one after the other, in one thread.

Every event (a signal, a file that changes, a process that starts) is only a hint that a job is due
earlier. So a lost hint loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from functools import partial
from typing import Protocol

from damonpolicy.base import log
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import Guard
from damonpolicy.daemon.jobs.reload import Outcome, Reloader
from damonpolicy.daemon.sd_notify import Notifier
from damonpolicy.daemon.wake import Readable, Wake, beat
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.policy.compile.loading import wanted

__all__ = ("AliveJob", "Job", "ReloadJob", "Service", "leave")

_MOST_OFTEN = 0.05
"""Seconds between two looks, however many hints there are."""


class Job(Protocol):
    """A repeated task."""

    due: float
    """When it is due, in seconds of the machine's clock."""

    @property
    def readable(self) -> Readable | None:
        """An object that makes the job due when it is readable."""

    def run(self) -> None:
        """Do the task, and set `due` again."""


@dataclass(slots=True)
class ReloadJob:
    """The job that looks at the policy files: on a hint, and every ``poll`` seconds anyway."""

    reloader: Reloader
    rearm: Callable[[], None] = lambda: None
    told: Callable[[Outcome | None], None] = lambda _: None
    """Called with each outcome, when files begin or cease to be held, and after each `again`."""
    poll: float = 2.0
    due: float = 0.0
    _hinted: bool = False
    _asked: bool = False
    _ran: float = -_MOST_OFTEN

    @property
    def readable(self) -> Readable | None:
        """Hints come by `hint`."""
        return None

    def hint(self) -> None:
        """Note that something may have changed; any thread may call it."""
        self._hinted = True
        self.due = min(self.due, self._ran + _MOST_OFTEN)

    def again(self) -> None:
        """Apply the current content again, as if it had changed; a signal handler may call it."""
        self._asked = True
        self.reloader.again()
        self.due = 0.0

    def run(self) -> None:
        """Apply settled files."""
        asked, self._hinted, self._asked = self._asked, False, False
        self.rearm()
        held = self.reloader.held
        try:
            looked = self.reloader.look()
        except BaseException:
            self._asked |= asked  # a caller that waits for a reload gets its result the next time
            raise
        if looked is not None or asked or held != self.reloader.held:
            self.told(self.reloader.outcome)
        self._ran = self.reloader.machine.monotonic()
        soon = self.reloader.next_look(self._ran)
        next_poll = beat(self._ran, self.poll)
        self.due = min(next_poll, soon if soon is not None else next_poll)
        if self._hinted:
            self.due = min(self.due, self._ran + _MOST_OFTEN)


@dataclass(slots=True)
class AliveJob:
    """The job that gives signs of life: rounds end, or the kernel has time left to answer.

    A kdamond that sleeps by its watermarks may answer a command after minutes. A service that hangs
    without a deadline gives none.
    """

    machine: Machine
    notifier: Notifier
    interval: float
    due: float = 0.0

    @property
    def readable(self) -> Readable | None:
        """Only time makes it due."""
        return None

    def run(self) -> None:
        """Give a sign of life."""
        self._give()

    def waiting(self) -> None:
        """Give a sign of life if it is due, and ask systemd to wait for a start or reload, too."""
        if self.due <= self.machine.monotonic():
            self._give(longer=2 * self.interval)

    def _give(self, longer: float = 0.0) -> None:
        self.notifier.alive(longer)
        self.due = self.machine.monotonic() + self.interval


@dataclass(slots=True)
class Service:
    """The runner of jobs; no error of a job ends it."""

    machine: Machine
    wake: Wake
    jobs: list[Job] = field(default_factory=list)
    stopping: bool = False
    failed: Callable[[], None] = lambda: None
    """Called when a job has failed, or succeeds again."""
    _guards: dict[str, Guard] = field(default_factory=dict)

    def stop(self) -> None:
        """End `run` once the job under way is done."""
        self.stopping = True
        self.wake.now()

    def waiting(self) -> None:
        """Give signs of life while a job waits for the kernel, except during a shutdown."""
        for job in () if self.stopping else self.jobs:
            if isinstance(job, AliveJob):
                job.waiting()

    def guards(self) -> Mapping[str, Guard]:
        """Return the guards of the jobs, by name."""
        return self._guards

    def step(self) -> float:
        """Run the jobs that are due; return the seconds until the next one."""
        for job in self.jobs:
            if self.stopping:
                return 0.0
            guard = self._guard(job)
            if max(job.due, guard.not_before) <= self.machine.monotonic():
                self._run(job, guard)
        now = self.machine.monotonic()
        due = (max(job.due, self._guard(job).not_before) for job in self.jobs)
        return max(min(due, default=now + 1.0) - now, 0.0)

    def _guard(self, job: Job) -> Guard:
        name = type(job).__name__.removesuffix("Job").lower()
        return self._guards.setdefault(name, Guard(name, self.machine))

    def _run(self, job: Job, guard: Guard) -> None:
        before = (guard.failures, guard.trouble)
        guard.attempt(job.run)
        if guard.failures == before[0]:
            guard.well()
        if (guard.failures, guard.trouble) != before:
            self.failed()

    def _readable(self) -> Iterator[tuple[Job, Readable]]:
        """Yield jobs with the objects that make them due; a failed job waits for its time."""
        for job in self.jobs:
            guard = self._guard(job)
            if not guard.rests:
                found = guard.attempt(partial(getattr, job, "readable"))
                if found is not None:
                    yield job, found

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Run until `stop`; ``ready`` is called once after the first round."""
        left = self.step()
        ready()
        while not self.stopping:
            readable = list(self._readable())
            found = self.wake.wait(left, [each for _, each in readable])
            for job, each in readable:
                if each in found:
                    job.due = 0.0
            left = self.step()
        log.info("ends")


def leave(reloader: Reloader) -> bool:
    """End all policies of a service and restore their settings; return whether there were any."""
    with changing(reloader.machine, reloader.places, wait=True, settle=True) as session:
        policies = wanted(session.managed, {}, without=reloader.owner)
        current, plan = prepare(reloader.machine, session.managed, policies, ())
        reason = f"the service of {', '.join(reloader.paths)} ends"
        changed = session.carry_out(current, plan, Terms(reason, interruptible=False))
    log.info("removed", changed=changed)
    return changed
