"""The loop of the service: jobs that are due, one after the other, in one thread.

Every event (a signal, a file that changes, a process that starts) is only a hint that a job is due
earlier. So a lost hint loses nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from functools import partial
from typing import Protocol

from damonpolicy.base import log
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import Guard
from damonpolicy.daemon.sd_notify import Notifier
from damonpolicy.kernel.system.machine import Machine

__all__ = ("AliveJob", "Job", "Readable", "Service", "Wake", "beat")


def beat(now: float, every: float) -> float:
    """Return the next beat of a clock that beats each ``every`` seconds.

    Jobs that look by the beat wake the process up together.
    """
    return (now // every + 1) * every


class Readable(Protocol):
    """Something that poll() takes."""

    def fileno(self) -> int:
        """Return its file descriptor."""


class Wake:
    """A wait that any thread or signal handler can end."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def now(self) -> None:
        """End the wait, or the next one if there is none."""
        with contextlib.suppress(BlockingIOError):  # it is full of reasons to wake up
            os.write(self._writer, b"!")

    def wait(self, seconds: float, watched: Iterable[Readable] = ()) -> list[Readable]:
        """Wait for an event, with a time limit; return the readable objects."""
        known, poll = list(watched), select.poll()  # select() takes none from 1024 on
        for descriptor in (self._reader, *(each.fileno() for each in known)):
            poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(math.ceil(max(seconds, 0.0) * 1000))]
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        return [each for each in known if each.fileno() in ready]

    def close(self) -> None:
        """Close it; nobody may wake it any more."""
        for descriptor in (self._reader, self._writer):
            os.close(descriptor)


class Job(ABC):
    """A repeated task."""

    due: float
    """When it is due, in seconds of the machine's clock."""

    @property
    def readable(self) -> Readable | None:
        """An object that makes the job due when it is readable, if there is one."""
        return None

    @abstractmethod
    def run(self) -> None:
        """Do the task, and set `due` again."""


@dataclass(slots=True)
class AliveJob(Job):
    """The job that gives signs of life: rounds end, or the kernel has time left to answer.

    A kdamond that sleeps by its watermarks may answer a command after minutes. A service that hangs
    without a deadline gives none.
    """

    machine: Machine
    notifier: Notifier
    interval: float
    due: float = 0.0

    def run(self, longer: float = 0.0) -> None:
        """Give a sign of life, and ask systemd to wait ``longer``."""
        self.notifier.alive(longer)
        self.due = self.machine.monotonic() + self.interval

    def waiting(self) -> None:
        """Give a sign of life if it is due, and ask systemd to wait for a start or reload, too."""
        if self.due <= self.machine.monotonic():
            self.run(longer=2 * self.interval)


@dataclass(slots=True)
class Service:
    """The runner of jobs; no error of a job ends it."""

    machine: Machine
    wake: Wake
    jobs: list[Job] = field(default_factory=list)
    stopping: bool = False
    failed: Callable[[], None] = lambda: None
    """Called when a job has failed, or succeeds again."""
    guards: dict[str, Guard] = field(default_factory=dict)
    """The guards of the jobs, by name."""

    def stop(self) -> None:
        """End `run` once the job under way is done."""
        self.stopping = True
        self.wake.now()

    def waiting(self) -> None:
        """Give signs of life while a job waits for the kernel, except during a shutdown."""
        for job in () if self.stopping else self.jobs:
            if isinstance(job, AliveJob):
                job.waiting()

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
        return self.guards.setdefault(name, Guard(name, self.machine))

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
            if guard.not_before <= self.machine.monotonic():
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
