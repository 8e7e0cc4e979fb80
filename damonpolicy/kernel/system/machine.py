"""The protocol for the machine's files, and the only module that opens them.

`Machine` is the protocol that the live machine, a copied tree and the emulated machine
share. Paths are absolute, as on the machine; errors are `OSError` with the kernel's errno.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import NamedTuple, Protocol

__all__ = (
    "ADMIN",
    "FORBID",
    "KDAMONDS",
    "Entry",
    "LiveMachine",
    "Machine",
    "entries",
    "forbid_live",
    "natural_order",
    "read_or",
    "read_value",
)

ADMIN = "/sys/kernel/mm/damon/admin"
KDAMONDS = f"{ADMIN}/kdamonds"
FORBID = "DAMONPOLICY_FORBID_LIVE"
"""The variable that forbids all writes to the real machine; tests set it."""

_LIVE_PLACES = ("/sys", "/proc", "/run/damonpolicy", "/var/lib/damonpolicy")
_CHUNK = 1 << 20
_PATIENCE, _PAUSE = 5.0, 0.01
"""Seconds for which to retry reads of a busy file, and between two tries."""


class Entry(NamedTuple):
    """One name in a directory."""

    name: str
    is_dir: bool


class Machine(Protocol):
    """The files of a machine, and its clock."""

    @property
    def name(self) -> str:
        """``live``, ``root:DIR`` or ``emulated:VERSION``, as ``--kernel`` takes it."""

    @property
    def here(self) -> bool:
        """Whether we run on it: its kernel, processes and files are those around us.

        Only then may a write wait in the kernel for ever, is what we know of a boot still true
        later, and do systemd, netlink, tracefs and the directories of the system belong to it.
        """

    @property
    def writable(self) -> bool:
        """False for a copied tree, which is read-only."""

    def read(self, path: str) -> str:
        """Return the whole content of a file."""

    def read_bytes(self, path: str) -> bytes:
        """Return the whole content of a binary file."""

    def write(self, path: str, text: str) -> None:
        """Hand ``text`` to the kernel in a single call; a short write is EIO."""

    def scan(self, path: str) -> list[Entry]:
        """Return the entries of a directory, numbers in numeric order."""

    def exists(self, path: str) -> bool:
        """Tell whether ``path`` exists."""

    def mode(self, path: str) -> int:
        """Return the permission bits."""

    def resolve(self, path: str) -> str:
        """Return the path with every symbolic link followed."""

    def identity(self, path: str) -> int:
        """Return the inode number, which differs for another directory at the same path.

        0 if it is meaningless, as in a copy.
        """

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


def read_value(machine: Machine, path: str) -> str:
    """Read a file that holds one value, without its final newline."""
    return machine.read(path).removesuffix("\n")


def read_or(machine: Machine, path: str, other: str = "") -> str:
    """Read a file that may be missing or unreadable."""
    try:
        return read_value(machine, path)
    except OSError:
        return other


def entries(machine: Machine, path: str) -> list[str]:
    """Return the names in a directory that may be missing."""
    try:
        return [entry.name for entry in machine.scan(path)]
    except OSError:
        return []


def forbid_live(path: str) -> None:
    """Raise PermissionError if ``path`` is the real machine's and tests are running.

    Symbolic links are followed first, so that no temporary directory can lead there.
    """
    if not os.environ.get(FORBID):
        return
    real = os.path.realpath(path)
    places = (os.path.realpath(place) for place in _LIVE_PLACES)  # /run may be a link itself
    if any(real == place or real.startswith(place + "/") for place in places):
        raise PermissionError(errno.EPERM, f"{FORBID} forbids to write the real machine", path)


def natural_order(entry: Entry) -> tuple[int, str]:
    """Sort key: numbers first and by value, then names."""
    return (int(entry.name), "") if entry.name.isdecimal() else (1 << 62, entry.name)


class LiveMachine:
    """The machine we run on, or (below another ``root``) a read-only copy of its files."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root).rstrip("/")

    @property
    def name(self) -> str:
        return f"root:{self.root}" if self.root else "live"

    @property
    def here(self) -> bool:
        return not self.root

    writable = here

    def _path(self, path: str) -> str:
        return self.root + path

    def read(self, path: str) -> str:
        return self.read_bytes(path).decode("utf-8", "surrogateescape")

    def read_bytes(self, path: str) -> bytes:
        # DAMON's files are busy while its one lock is held (mm/damon/sysfs.c: pid_show() and
        # others try it once), as by a command that waits for a kdamond: for a moment.
        deadline = self.monotonic() + _PATIENCE
        while True:
            try:
                return self._read(path)
            except OSError as error:
                if error.errno != errno.EBUSY or self.monotonic() >= deadline:
                    error.filename = error.filename or path  # open() names it, read() does not
                    raise
            self.sleep(_PAUSE)

    def _read(self, path: str) -> bytes:
        descriptor = os.open(self._path(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            chunks = []
            while chunk := os.read(descriptor, _CHUNK):
                chunks.append(chunk)
            return b"".join(chunks)
        finally:
            os.close(descriptor)

    def write(self, path: str, text: str) -> None:
        if self.root:
            raise PermissionError(errno.EROFS, "a copied tree is for reading only", path)
        forbid_live(path)
        if os.path.normpath(path) != path:  # no plan of ours writes one: someone invented it
            raise PermissionError(errno.EPERM, "a path with `..`, `.` or `//`", path)
        data = text.encode("utf-8", "surrogateescape")
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
        if written != len(data):
            raise OSError(errno.EIO, f"short write: {written} of {len(data)} bytes", path)

    def scan(self, path: str) -> list[Entry]:
        with os.scandir(self._path(path)) as found:
            return sorted((Entry(each.name, each.is_dir()) for each in found), key=natural_order)

    def exists(self, path: str) -> bool:
        return os.path.lexists(self._path(path))

    def mode(self, path: str) -> int:
        return stat.S_IMODE(os.stat(self._path(path)).st_mode)

    def resolve(self, path: str) -> str:
        real = os.path.realpath(self._path(path))
        return real.removeprefix(self.root) if self.root else real

    def identity(self, path: str) -> int:
        inode = os.stat(self._path(path)).st_ino
        return 0 if self.root else inode

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
