"""Storage of the state of an emulated machine, in memory or in a directory.

A directory is shared by processes. Changes are made under a lock; the state is one file, a checksum
and JSON, that is replaced as a whole, so that nobody ever sees half of it. Beside it is the log of
all attempted writes, one line each. A process that is killed between the two leaves its last line
in the state file, and the next process adds it to the log.

Nothing is forced to the disk: if the host loses power, only a test's machine is lost.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from damonpolicy.base.errors import UsageError
from damonpolicy.base.trust import make_private_directory, open_own
from damonpolicy.emulated.world import State, fits

__all__ = ("Directory", "Memory", "Write", "check", "identity_of")

_FORMAT = 3
_STATE = "machine.json"
_LOG = "writes.jsonl"
_OLD_LOG = "writes.old.jsonl"
_LOCK = "lock"
_LONGEST_LOG = 16 << 20
"""Bytes; a longer log is renamed, and replaces an earlier one."""


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _stated(data: bytes) -> State | None:
    """Return the state in a file, None if it is damaged."""
    checksum, _, text = data.partition(b"\n")
    if checksum != _checksum(text):
        return None
    try:
        state: State = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return state if fits(state) else None


def identity_of(version: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored identity of a machine with a kernel version and a description."""
    text = json.dumps(spec, sort_keys=True, default=str)
    return {"format": _FORMAT, "version": version, "machine": _checksum(text.encode()).decode()}


def check(identity: Mapping[str, Any], state: Mapping[str, Any], store: Path) -> None:
    """Refuse a stored machine with another identity."""
    kept: Mapping[str, Any] = state.get("identity") or {}
    for key, difference in (
        ("format", "of another damonpolicy"),
        ("version", f"of version {kept.get('version')}, not {identity['version']}"),
        ("machine", "made with another machine file"),
    ):
        if kept.get(key) != identity[key]:
            raise UsageError(
                f"`{store}` holds an emulated machine {difference}",
                hint=f"remove `{store}`, or choose another with --state-dir",
            )


class Write(NamedTuple):
    """One attempted write; ``error`` is its errno, 0 if it succeeded."""

    path: str
    text: str
    error: int


class Memory:
    """A store in memory, with only the log."""

    def __init__(self) -> None:
        self._log: list[Write] = []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Prevent changes of the state by others in the block."""
        yield

    def reload(self) -> State | None:
        """Return the state if somebody else changed it, otherwise None."""
        return None

    def save(self, state: State, write: Write | None = None) -> None:
        """Store the state, and add an attempted write to the log."""
        if write:
            self._log.append(write)

    @property
    def log(self) -> list[Write]:
        """All attempted writes."""
        return self._log


class Directory:
    """A store in a directory, which is made if it is missing.

    Raises Untrusted if others can change its content.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._state_path = str(place / _STATE)  # checked before each operation
        self._state_file: int | None = None
        self._log_file: int | None = None
        self._depth = 0
        self._process = os.getpid()
        self._lock_file: int | None = None
        try:
            make_private_directory(place)
            self._lock_file = self._open(_LOCK)
            self._open_log()
        except OSError as error:
            self.close()
            raise UsageError(
                f"cannot keep an emulated machine in `{place}`: {error.strerror}"
            ) from error

    def _open(self, name: str, more: int = 0) -> int:
        return open_own(self.place / name, os.O_RDWR | os.O_CREAT | more)

    def close(self) -> None:
        """Close all files; the machine cannot be used any more."""
        for descriptor in (self._state_file, self._log_file, self._lock_file):
            if descriptor is not None:
                os.close(descriptor)
        self._state_file = self._log_file = self._lock_file = None

    def __del__(self) -> None:
        self.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Prevent changes of the state by other processes in the block; may be nested."""
        if self._lock_file is None:
            raise OSError(errno.EBADF, "the emulated machine was closed", str(self.place))
        if self._process != os.getpid():
            # after a fork, parent and child would hold the same lock
            os.close(self._lock_file)
            self._lock_file, self._process = self._open(_LOCK), os.getpid()
        if not self._depth:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def reload(self) -> State | None:
        """Return the state if another process changed it since our last look, otherwise None.

        The known file stays open, so that its inode number cannot be reused.
        """
        path = self._state_path
        try:
            now = os.stat(path)
            if self._state_file is not None and os.path.samestat(os.fstat(self._state_file), now):
                return None
            descriptor = open_own(self.place / _STATE)
        except FileNotFoundError:
            return None
        self._keep(descriptor)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read()
        state = _stated(data)
        if state is None:
            raise UsageError(
                f"`{path}` is damaged, or of another damonpolicy",
                hint=f"remove `{self.place}`: it holds an emulated machine only",
            )
        return state

    def _keep(self, descriptor: int) -> None:
        if self._state_file is not None:
            os.close(self._state_file)
        self._state_file = descriptor

    def save(self, state: State, write: Write | None = None) -> None:
        """Replace the state file, then add an attempted write to the log; under the lock."""
        line = b""
        if write:
            self._repair(state)
            line = json.dumps(write, separators=(",", ":")).encode() + b"\n"
            state["log"] = {"size": self._log_size(), "line": line.decode()}
        temporary = f"{_STATE}.new"
        descriptor = self._open(temporary, os.O_TRUNC)
        text = json.dumps(state, separators=(",", ":")).encode()
        data = _checksum(text) + b"\n" + text
        while data:
            data = data[os.write(descriptor, data) :]
        os.replace(self.place / temporary, self._state_path)
        self._keep(descriptor)
        if line and self._log_file is not None:
            os.write(self._log_file, line)

    def _log_size(self) -> int:
        """Return the log's size, after renaming a log that has become too long."""
        if self._log_file is None:
            return 0
        size = os.fstat(self._log_file).st_size
        if size > _LONGEST_LOG:
            os.replace(self.place / _LOG, self.place / _OLD_LOG)
            self._open_log()
            size = 0
        return size

    def _open_log(self) -> None:
        """Open the log, or another one that has its name now."""
        if self._log_file is not None:
            os.close(self._log_file)
        self._log_file = self._open(_LOG, os.O_APPEND)

    def _repair(self, state: State) -> None:
        """Complete the log if a process was killed before, or while, it wrote its line."""
        last: dict[str, Any] | None = state.get("log")
        if last is None or self._log_file is None:
            return
        mine, now = os.fstat(self._log_file), os.stat(self.place / _LOG)
        if not os.path.samestat(mine, now):  # another process has renamed our log
            self._open_log()
        line = last["line"].encode()
        if os.fstat(self._log_file).st_size < last["size"] + len(line):
            os.ftruncate(self._log_file, last["size"])
            os.write(self._log_file, line)

    @property
    def log(self) -> list[Write]:
        """All attempted writes of all processes, except those in a renamed log."""
        with self.locked():
            state = json.loads((self.place / _STATE).read_bytes().partition(b"\n")[2])
            self._repair(state)
            with open(self.place / _LOG, encoding="utf-8") as file:
                return [Write(*json.loads(line)) for line in file]
