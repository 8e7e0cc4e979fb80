"""The places of damonpolicy's state, and durable writes to them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from damonpolicy.base import log, trust
from damonpolicy.base.errors import DamonPolicyError, NoPermission, reason_of
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.recursion import deep
from damonpolicy.kernel.damon.tree import digest
from damonpolicy.kernel.system.machine import Machine, forbid_live

__all__ = ("Places", "find", "read_json", "write_json")


class _Below:
    """A path below one of the places."""

    def __init__(self, directory: str, name: str) -> None:
        self.directory, self.name = directory, name

    def __get__(self, places: Places, owner: type[Places]) -> Path:
        directory: Path = getattr(places, self.directory)
        return directory / self.name


@dataclass(frozen=True, slots=True)
class Places:
    """The directories: ``run`` is lost at a reboot, as the kernel's state is; ``lib`` survives."""

    lock: Path
    run: Path
    lib: Path

    journal = _Below("run", "journal")
    """The journal of the transaction under way."""
    state = _Below("run", "state.json")
    """The managed set of this boot."""
    state_copy = _Below("run", "state.copy.json")
    """A copy of it, in case someone damages it."""
    service = _Below("run", "service.json")
    """The service's record of itself."""
    sources = _Below("run", "sources.json")
    """The origin of the service's policies; it outlives the service, to notice lost paths."""
    service_lock = _Below("run", "service.lock")
    """The lock of the service, held while it runs: one service per machine."""
    generations = _Below("lib", "generations")
    """One file for each generation."""
    confirmed = _Below("lib", "confirmed.json")
    """The file with the number of the generation that is restored at boot."""


def emulated_directory(name: str, state_dir: Path | None) -> Path:
    """Return the directory of an emulated machine and its state, below the user's own."""
    if state_dir is not None:
        return state_dir
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local/state")
    return Path(home) / "damonpolicy" / name.replace(":", "-")


def find(machine: Machine, state_dir: Path | None) -> Places:
    """Return the places of a machine; ``state_dir`` moves all but the live lock."""
    if machine.here:
        run, lib = Path("/run/damonpolicy"), Path("/var/lib/damonpolicy")
        lock = run / "lock"
        if state_dir is not None:
            run, lib = state_dir / "run", state_dir / "lib"
        return Places(lock, run, lib)
    base = emulated_directory(machine.name, state_dir)
    return Places(base / "run" / "lock", base / "run", base / "lib")


def make_directory(path: Path) -> None:
    """Make a directory that only its owner can read.

    Raises Untrusted if it exists, and others could change its content.
    """
    forbid_live(str(path))
    try:
        trust.make_private_directory(path)
    except OSError as error:
        raise cannot("make", path, error) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a file atomically and durably.

    It uses reserved space. Raises DamonPolicyError; the old file stays then.
    """
    # at once and on one line: anything else is written by json's slow encoder
    text = json.dumps({**data, "digest": digest(data)}).encode() + b"\n"
    with _next_content(path, replaces=True) as descriptor:
        write_all(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
        os.fsync(descriptor)
    sync_directory(path.parent)


@contextmanager
def _next_content(path: Path, *, replaces: bool) -> Iterator[int]:
    """Open the file with the next content of another, which it ``replaces`` after the block.

    Raises DamonPolicyError, and removes it on an error.
    """
    make_directory(path.parent)
    forbid_live(str(path))
    temporary = _next(path)
    try:
        descriptor = trust.open_own(temporary, os.O_RDWR | os.O_CREAT)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        if replaces:
            temporary.replace(path)
    except OSError as error:
        forget(temporary)
        raise cannot("write", path, error) from error


def size_of(data: Mapping[str, Any]) -> int:
    """Return the number of bytes that `write_json` would write."""
    return len(json.dumps(data)) + 64


def reserve(path: Path, size: int) -> None:
    """Reserve the space that the next `write_json` of a file will need. Raises DamonPolicyError."""
    with _next_content(path, replaces=False) as descriptor:
        os.posix_fallocate(descriptor, 0, size)


def unreserve(path: Path) -> None:
    """Release reserved space, if any."""
    forget(_next(path))


def _next(path: Path) -> Path:
    """Return the path at which a file's next content is written; the writer holds the lock."""
    return path.with_name(f".{path.name}.next")


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all bytes at an offset: a single call may write a part of them without an error."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        if not written:
            raise OSError(errno.EIO, "nothing was written")
        data, offset = data[written:], offset + written


def forget(path: Path) -> None:
    """Remove an unneeded file of ours; if that fails, it stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("left over", path=str(path), reason=error.strerror)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable, as far as its file system lets us.

    A rename is in force already: a failure here only means that a power cut may undo it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        log.warning("not synced", path=str(path), reason=error.strerror)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a file of `write_json`; None if there is none.

    Raises Untrusted where others could have written it, DamonPolicyError where it is anything else: what was edited by hand or cut short
    would otherwise be found out in the middle of a transaction.
    """
    try:
        with deep():
            data = json.loads(trust.read_own(path).decode())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot("read", path, error) from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if not isinstance(data, dict) or data.pop("digest", None) != digest(data):
        raise damaged(path, "its checksum is wrong")
    return data


def damaged(path: Path, reason: object) -> DamonPolicyError:
    """Return the error for a file of ours that somebody else has written."""
    message = f"`{path}` is damaged: {reason}"
    return DamonPolicyError(message, hint="move it away; `damonpolicy status` shows what runs then")


def cannot(verb: str, path: Path, error: OSError) -> DamonPolicyError:
    """Return the error for a file of ours that cannot be read, written or made."""
    message = f"cannot {verb} `{path}`: {reason_of(error)}"
    if isinstance(error, PermissionError):
        return NoPermission(message, hint="run as root, or choose another `--state-dir`")
    return DamonPolicyError(message)
