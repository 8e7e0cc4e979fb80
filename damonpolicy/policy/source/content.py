"""A consistent snapshot of the content of policy files: `gather`.

A file that somebody has open for writing may be half of what it will be, and half of a policy is
often a valid one. So each is read under a read lease, which the kernel grants only while nobody has
the file open for writing (fcntl(2), F_SETLEASE), and revokes before anybody can.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.errors import reason_of
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.trust import Keepers
from damonpolicy.policy.source.files import (
    SourceFile,
    distrust,
    drop_ins,
    policies_in,
    read_file,
    within_limits,
)

__all__ = ("Content", "gather", "signature", "without_alarm")

_TICKS = 0.05
"""Seconds: a few ticks of the slowest clock with which kernels before 6.13 date files."""


@dataclass(frozen=True, slots=True)
class Content:
    """All policy files of some paths, files of variables, and a digest of names and texts.

    ``held`` are files that somebody has open for writing: their text may be half of it. ``missing``
    are paths that do not exist, ``there`` those that exist and hold policies, even if others hide
    them. ``changed`` is when a file last changed, appeared or disappeared, in seconds since the
    epoch. ``young``: that was so shortly before the reading that one more change might leave their
    times, and so `signature`, unchanged.
    """

    files: tuple[SourceFile, ...]
    variables: tuple[SourceFile, ...]
    found: tuple[Diagnostic, ...]
    held: tuple[str, ...]
    missing: tuple[str, ...]
    digest: str
    there: tuple[str, ...] = ()
    changed: float = 0.0
    young: bool = False


def gather(
    paths: Sequence[str], variables: Sequence[str] = (), keepers: Keepers | None = None
) -> Content:
    """Read all policies of files and drop-in directories; a missing path holds none.

    With ``keepers`` nobody else may be able to change any of them, or to remove one.
    """
    wrong = {path: distrust(path, keepers) for path in paths}
    found: list[Diagnostic] = [each for each in wrong.values() if each]
    held: list[str] = []
    began, changed = time.time(), 0.0
    there = tuple(path for path in paths if _holds(path))
    names, missing, unreadable = _names([path for path in paths if not wrong[path]])
    for path, error in unreadable:
        message = f"cannot read `{path}`: {reason_of(error)}"
        found.append(Diagnostic.error("DP0001", None, message))
    for name in (*paths, *names, *variables):  # a directory's time shows files that were removed
        with contextlib.suppress(OSError):
            changed = max(changed, os.stat(name).st_ctime)  # a rename sets it, too

    def read() -> Iterator[tuple[SourceFile, Diagnostic | None]]:
        for name in (*names, *variables):
            with _lease(name) as settled:
                file = read_file(name, keepers)
            yield file
            if not settled:
                held.append(name)

    files, wrong_files = within_limits(read())
    found += wrong_files
    digest = hashlib.sha256()
    parts = [(each.name, each.text) for each in files] + [(repr(each), "") for each in found]
    for text in (*missing, *(text for part in parts for text in part)):
        data = text.encode("utf-8", "surrogateescape")
        digest.update(f"{len(data)} ".encode() + data)
    own = tuple(each for each in files if each.name not in variables)
    others = tuple(each for each in files if each.name in variables)
    return Content(
        own, others, tuple(found), tuple(held), tuple(missing), digest.hexdigest(), there, changed,
        young=abs(began - changed) < _TICKS,
    )  # fmt: skip


def signature(paths: Sequence[str]) -> tuple[object, ...]:
    """Return data that changes with the files, without reading them: inodes, sizes and times.

    For directories, it shows only whether they were made again, or others may change them.
    """
    names, missing, unreadable = _names(paths)
    seen: list[object] = [tuple(missing), *((path, error.errno) for path, error in unreadable)]
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            seen.append((path, status.st_dev, status.st_ino, status.st_mode, status.st_uid))
    for name in names:
        try:
            status = os.stat(name)
        except OSError as error:
            seen.append((name, error.errno))
        else:
            seen.append((name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns,
                         status.st_ctime_ns))  # fmt: skip
    return tuple(seen)


def _holds(path: str) -> bool:
    try:
        return bool(policies_in(path)) if os.path.isdir(path) else os.path.lexists(path)
    except OSError:  # it went away
        return False


def _names(paths: Sequence[str]) -> tuple[list[str], list[str], list[tuple[str, OSError]]]:
    """Return the files of paths, those of directories by the precedence of drop-ins.

    It also returns what is missing, and the directories that cannot be read, with the reason.
    """
    names: list[str] = []
    directories: list[str] = []
    missing: list[str] = []
    unreadable: list[tuple[str, OSError]] = []
    for path in paths:
        if not os.path.isdir(path):
            (names if os.path.lexists(path) else missing).append(path)
            continue
        try:
            policies_in(path)
        except FileNotFoundError:  # it went away
            missing.append(path)
        except OSError as error:
            unreadable.append((path, error))
        else:
            directories.append(path)
    return list(dict.fromkeys([*names, *drop_ins(directories)])), missing, unreadable


@contextmanager
def _lease(name: str) -> Iterator[bool]:
    """Return whether nobody has a file open for writing, and nobody will while the block runs.

    If leases are not available (other users' files without CAP_LEASE, network file systems), it
    assumes that nobody has.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        yield True
        return
    try:
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            yield False
            return
        except OSError:
            yield True
            return
        yield True
    finally:
        os.close(descriptor)  # which also gives the lease back


def without_alarm() -> None:
    """Ignore the signal with which the kernel breaks a lease; by default it ends a process."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
