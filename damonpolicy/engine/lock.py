"""One change of a machine at a time, and one service."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from damonpolicy.engine.places import make_directory
from damonpolicy.errors import DamonPolicyError, LockHeld, NoPermission
from damonpolicy.kernel.sysfs import forbid_live

__all__ = ("SERVICE", "exclusive")

CHANGE = (
    "another damonpolicy (pid {}) is changing this machine",
    "wait for it with `--wait`",
)
SERVICE = (
    "another service (pid {}) keeps this machine under policies",
    "give all paths to one service",
)
"""What is said, with a hint, where another process holds a lock."""


@contextmanager
def exclusive(path: Path, *, wait: bool, held: tuple[str, str] = CHANGE) -> Iterator[None]:
    """Hold a lock; the kernel lets go of it however the process ends.

    ``held`` is what is said where another process has it.

    Raises LockHeld where another process has it and ``wait`` is false.
    """
    make_directory(path.parent)
    forbid_live(str(path))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise NoPermission(f"`{path}` may not be opened", hint="run as root") from error
    except OSError as error:
        raise DamonPolicyError(f"cannot lock `{path}`: {error.strerror}") from error
    try:
        _take(descriptor, wait=wait, held=held)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, *, wait: bool, held: tuple[str, str]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        message, hint = held
        raise LockHeld(message.format(holder), hint=hint) from error
