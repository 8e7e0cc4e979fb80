"""SIGTERM is always answered: `within` interrupts what takes too long.

Whoever stops a service waits for it, whatever a job computes. So after a while an alarm raises
`Late` wherever the one thread is, except during a transaction, whose waits have deadlines.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from damonpolicy.engine.signals import writing

__all__ = ("Late", "ending", "within")

_ONCE_MORE = 0.5
"""Seconds between two tries: the first may hit a transaction, or code that catches all errors."""


class Late(BaseException):
    """Raised by the alarm; not an Exception, so that nothing of ours swallows it."""


@contextmanager
def ending() -> Iterator[None]:
    """Let `within` work in a block; it has no effect in other threads than the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _alarm)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def within(seconds: float) -> None:
    """Raise Late after so many seconds, which replace earlier ones; 0 is never."""
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, seconds, _ONCE_MORE if seconds else 0)


def _alarm(*_: object) -> None:
    if not writing():
        raise Late
