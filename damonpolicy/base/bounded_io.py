"""Bounded reading of whole files that users name."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from damonpolicy.base import limits
from damonpolicy.base.trust import Keepers, open_trusted

__all__ = ("MOST", "text")

MOST = limits.OWN_FILE.most
"""Bytes: plans and machine files are far smaller."""


def text(path: Path, most: int = MOST, keepers: Keepers | None = None) -> str:
    """Return the text of a regular file of at most ``most`` bytes.

    Raises OSError for a file that is not regular (a device or FIFO may never end) or is larger,
    ValueError if it is not UTF-8, and Untrusted if others than ``keepers`` can change it.
    """

    def opener(name: str, flags: int) -> int:
        if keepers is not None:
            return open_trusted(name, keepers, flags)
        return os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would wait for a writer

    with open(path, "rb", opener=opener) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", str(path))
    return data.decode("utf-8")
