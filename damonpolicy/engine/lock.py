"""The locks: one change of a machine at a time, and one service."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from damonpolicy.base import trust
from damonpolicy.base.errors import LockHeld, NoPermission, as_root
from damonpolicy.engine.state_directory import cannot, make_directory
from damonpolicy.kernel.system.machine import forbid_live

__all__ = ("SERVICE", "exclusive")

CHANGE = ("another damonpolicy (pid {}) is changing this machine", "wait for it with `--wait`")
SERVICE = (
    "another service (pid {}) keeps this machine under policies",
    "give all paths to one service",
)
"""The message and hint if another process holds a lock."""

_UNWRITABLE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)


@contextmanager
def exclusive(path: Path, *, wait: bool, held: tuple[str, str] = CHANGE) -> Iterator[None]:
    """Hold a lock; the kernel releases it however the process ends.

    ``held`` is the message if another process has it.

    Raises LockHeld if another process has it and ``wait`` is false.
    """
    make_directory(path.parent)
    forbid_live(str(path))
    try:
        descriptor = _opened(path)
    except PermissionError as error:
        raise NoPermission(f"`{path}` may not be opened", hint=as_root()) from error
    except OSError as error:
        raise cannot("lock", path, error) from error
    try:
        _take(descriptor, path, wait=wait, held=held)
        # Only processes that wait for us read it: a full disk must not hold up an undo.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        trust.let_go(descriptor)


def _opened(path: Path) -> int:
    """Open a lock's file; if it cannot be made or written, open it or its directory for reading."""
    try:
        return trust.open_own(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
    try:
        return trust.open_own(path)
    except FileNotFoundError:
        return os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _take(descriptor: int, path: Path, *, wait: bool, held: tuple[str, str]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        message, hint = held
        raise LockHeld(message.format(_holder(path)), hint=hint) from error
    except OSError as error:
        raise cannot("lock", path, error) from error


def _holder(path: Path) -> str:
    """Return the pid of the process that holds a lock, if known."""
    try:
        return path.read_text("ascii", "replace").strip()[:20] or "unknown"
    except OSError:
        return "unknown"
