"""Long waits for the kernel, and what else is done during them: `meanwhile`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ("join", "meanwhile", "tick")

_SLICE = 0.5
"""Seconds between two calls of who has something to do meanwhile."""
_hooks: list[Callable[[], None]] = []


@contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """Call ``do`` again and again during each wait in the block; waits end by their deadline."""
    _hooks.append(do)
    try:
        yield
    finally:
        _hooks.remove(do)


def tick() -> None:
    """Do what is to be done meanwhile; for waits that are loops of their own."""
    for do in tuple(_hooks):
        do()


def join(thread: threading.Thread, seconds: float) -> None:
    """Wait for the end of a thread, at most for so long."""
    end = time.monotonic() + seconds
    while thread.is_alive() and (left := end - time.monotonic()) > 0:
        thread.join(min(left, _SLICE))
        tick()
