"""Parsers that recurse, and files that are nested too deeply for them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("deep",)


@contextmanager
def deep() -> Iterator[None]:
    """Let no garbage be collected while a parser may come to the end of the stack.

    What is finalized there fails as well, and Python prints a traceback of that for nobody.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
