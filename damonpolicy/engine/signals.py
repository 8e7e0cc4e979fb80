"""Signals while the kernel is written to: they end a transaction, and wait for an undo."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ("Signalled", "Signals", "ignored", "taken", "waiting", "writing")

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENDING = (signal.SIG_DFL, signal.default_int_handler)
"""What ends a command at once; a service has handlers of its own, which wait by themselves."""


_under_way: list[Signals] = []
"""Those of blocks that write to the machine."""


class Signalled(BaseException):
    """Raised by a signal's handler; not an Exception, so that nothing swallows it."""


class Signals:
    """Signals become exceptions while ``armed``, and are only noted else."""

    def __init__(self, *, armed: bool = True) -> None:
        self.armed = armed
        self.came = ""
        """The last that came."""

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle one."""
        del frame
        self.came = signal.Signals(number).name
        if self.armed:
            raise Signalled(self.came)


def writing() -> bool:
    """Tell whether the machine is being written to: nobody may break that off."""
    return bool(_under_way)


@contextmanager
def taken(*, interruptible: bool) -> Iterator[Signals]:
    """Take signals as exceptions, or leave them to the handlers that are there."""
    numbers = _NUMBERS if interruptible else ()
    with _handled(Signals(), numbers) as signals:
        yield signals


@contextmanager
def waiting() -> Iterator[Signals]:
    """Let signals that would end the command wait."""
    numbers = [each for each in _NUMBERS if signal.getsignal(each) in _ENDING]
    with _handled(Signals(armed=False), numbers) as signals:
        yield signals


@contextmanager
def _handled(signals: Signals, numbers: Iterable[signal.Signals]) -> Iterator[Signals]:
    _under_way.append(signals)
    try:
        with _installed(signals, numbers):
            yield signals
    finally:
        _under_way.remove(signals)


@contextmanager
def _installed(signals: Signals, numbers: Iterable[signal.Signals]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signals.handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    """Let a signal do nothing, unless somebody handles it in the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)
