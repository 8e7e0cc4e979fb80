"""Writes to DAMON's files that wait while somebody holds the one lock of all of them."""

from __future__ import annotations

import errno
import time
from pathlib import Path

__all__ = ("write",)

_SECONDS = 120
_PAUSE = 0.01


def write(path: Path, value: object) -> None:
    """Write a value; one that finds DAMON's lock held is refused, and written again.

    Commands and writes to files only try the lock (mm/damon/sysfs.c: state_store()). A write that
    is refused with the same error for another reason is still refused when the time is over.
    """
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            path.write_text(str(value), encoding="ascii")
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return
