"""Long waits for the kernel, with a callback during them: `meanwhile`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ("join", "meanwhile", "tick")

_SLICE = 0.5
"""Seconds between two calls of the callback."""
_hooks: list[Callable[[], None]] = []


@contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """Call ``do`` repeatedly during each wait in the block; waits end by their deadline."""
    _hooks.append(do)
    try:
        yield
    finally:
        _hooks.remove(do)


def tick() -> None:
    """Call the callback; for waits that have loops of their own."""
    for do in tuple(_hooks):
        do()


def join(thread: threading.Thread, seconds: float) -> None:
    """Wait for the end of a thread, with a time limit."""
    end = time.monotonic() + seconds
    while thread.is_alive() and (left := end - time.monotonic()) > 0:
        thread.join(min(left, _SLICE))
        tick()
