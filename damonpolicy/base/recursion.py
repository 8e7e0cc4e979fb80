"""Protection of recursive parsers from deeply nested files."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("deep",)


@contextmanager
def deep() -> Iterator[None]:
    """Pause garbage collection while a parser may exhaust the stack.

    Finalizers that run there fail as well, and Python would print a useless traceback.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
