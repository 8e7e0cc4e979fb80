"""A progress line on the terminal for steps that take longer than a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from damonpolicy.base import log
from damonpolicy.base.diagnostics import visible

__all__ = ("showing",)

_PATIENCE = 1.0
_EVERY = 0.2
_BAR = 20
_CLEAR = "\r\x1b[K"


@contextmanager
def showing(terminal: TextIO, patience: float = _PATIENCE) -> Iterator[None]:
    """Show the progress of a transaction after ``patience`` seconds, and clear it at the end.

    A thread draws it, because the long step is a write that waits in the kernel.
    """
    line = _Line()
    log.set_sink(line.hear)
    over = threading.Event()

    def draw() -> None:
        wait = patience
        while not over.wait(wait):
            wait = _EVERY
            if line.what:
                terminal.write(f"{_CLEAR}{line}")
                terminal.flush()

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        terminal.write(_CLEAR)
        terminal.flush()


class _Line:
    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.what = ""

    def hear(self, level: log.Level, event: str, values: dict[str, Any]) -> None:
        if event == "begin":
            self.done, self.total = 0, values["operations"]
        elif event == "undo":
            self.total = 0
        elif event == "operation":
            self.done += 1
            verb = "applying" if self.total else "undoing"
            self.what = visible(f"{verb}: {values['value']} → {values['path']}", kept="")

    def __str__(self) -> str:
        if not self.total:
            return self.what[:100]
        full = min(_BAR, _BAR * self.done // self.total)
        return f"[{'#' * full}{'.' * (_BAR - full)}] {self.done}/{self.total} {self.what}"[:100]
