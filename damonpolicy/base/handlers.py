"""Handlers of signals for as long as a block lasts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ("handled",)


@contextmanager
def handled(
    handlers: Mapping[signal.Signals, Callable[[int, Any], Any] | signal.Handlers],
) -> Iterator[None]:
    """Set handlers by signal, and put the earlier ones back; only the main thread sets any."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handlers[number]) for number in handlers if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
