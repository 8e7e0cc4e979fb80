"""Signals during a change: recorded on arrival, handled between two operations."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from damonpolicy.base.handlers import handled
from damonpolicy.engine.waiting import meanwhile

__all__ = ("Signalled", "Signals", "ignored", "keeping", "taken", "waiting", "writing")

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENDING = (signal.SIG_DFL, signal.default_int_handler)
"""The signals that end a command at once; a service has handlers of its own, which wait."""


class Signalled(BaseException):
    """A signal, raised by `Signals.check`; not an Exception, so that nothing swallows it."""


class Signals:
    """The signals that arrived. Handlers only record them, so that no statement is cut short."""

    def __init__(self) -> None:
        self.came = ""
        """The last signal."""
        self.heeded = True
        """Whether `check` raises: not during an undo, nor after the commit point."""
        self.committed = False
        """Whether the change is complete, so that only the result is left to print."""

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle one signal."""
        del frame
        self.came = signal.Signals(number).name

    def check(self) -> None:
        """Raise Signalled if a signal has arrived and `check` may raise."""
        if self.came and self.heeded:
            raise Signalled(self.came)


_keeping: list[bool] = []

_under_way: list[Signals] = []
"""The signals of blocks that write to the machine."""


def writing() -> bool:
    """Return whether the machine is being written to, which nothing may interrupt."""
    return bool(_under_way)


@contextmanager
def keeping() -> Iterator[None]:
    """Delay signals that arrive after a complete change until the block ends.

    Otherwise a command with only its result left to print would end as if nothing had changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    _keeping.append(True)
    try:
        yield
    finally:
        _keeping.pop()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def taken(*, interruptible: bool) -> Iterator[Signals]:
    """Record signals, or leave them to existing handlers; long waits check them."""
    numbers = _NUMBERS if interruptible else ()
    with _handled(numbers) as signals, meanwhile(signals.check):
        yield signals


@contextmanager
def waiting() -> Iterator[Signals]:
    """Delay signals that would end the command."""
    numbers = [each for each in _NUMBERS if signal.getsignal(each) in _ENDING]
    with _handled(numbers) as signals:
        signals.heeded = False
        yield signals


@contextmanager
def _handled(numbers: Iterable[signal.Signals]) -> Iterator[Signals]:
    signals, main = Signals(), threading.current_thread() is threading.main_thread()
    _under_way.append(signals)
    previous = {number: signal.signal(number, signals.handle) for number in numbers if main}
    try:
        yield signals
    finally:
        if not (signals.committed and _keeping):
            for number, handler in previous.items():
                signal.signal(number, handler)
        _under_way.remove(signals)


def ignored(number: signal.Signals) -> AbstractContextManager[None]:
    """Ignore a signal, unless the block sets a handler."""
    return handled({number: signal.SIG_IGN})
