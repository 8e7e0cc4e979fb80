"""Interruptible waits, ended by time, a signal, or a hint of a change."""

from __future__ import annotations

import contextlib
import math
import os
import select
from collections.abc import Iterable
from typing import Protocol

__all__ = ("Readable", "Wake", "beat")


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
