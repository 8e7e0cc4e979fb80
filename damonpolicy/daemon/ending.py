"""Guaranteed reaction to SIGTERM: `within` interrupts slow code.

The caller that stops a service waits for it, whatever a job computes. So after a while an alarm
raises `Late` anywhere in the one thread, except during a transaction, whose waits have deadlines.
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
    """Enable `within` in a block; it works only in the main thread."""
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
    """Raise Late after the given seconds, which replace earlier ones; 0 means never."""
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, seconds, _ONCE_MORE if seconds else 0)


def _alarm(*_: object) -> None:
    if not writing():
        raise Late
