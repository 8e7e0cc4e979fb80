"""DAMON's files, with retries while another program holds their lock."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from damonpolicy.kernel.system.machine import LiveMachine

__all__ = ("Patient", "read", "write")

_SECONDS = 120
_PAUSE = 0.01
_Found = TypeVar("_Found")


def write(path: Path, value: object) -> None:
    """Write a value; one that finds DAMON's lock held is refused, and written again.

    Commands and writes to files only try the lock (mm/damon/sysfs.c: state_store()). A write that
    is refused with the same error for another reason is still refused when the time is over.
    """
    _patiently(lambda: path.write_text(str(value), encoding="ascii"))


def read(path: Path) -> str:
    """Read a file; some only try the lock, too (state_show(), pid_show())."""
    return _patiently(lambda: path.read_text("ascii"))


class Patient(LiveMachine):
    """The live kernel, for code that writes as if it were alone on the machine."""

    def write(self, path: str, text: str) -> None:
        """Write a file, as `write` does."""
        _patiently(lambda: LiveMachine.write(self, path, text))


def _patiently(act: Callable[[], _Found]) -> _Found:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return act()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)
