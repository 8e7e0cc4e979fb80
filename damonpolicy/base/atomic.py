"""Atomic file replacement, and rotation of a limited number of files."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from damonpolicy.base.errors import UsageError

__all__ = ("PUBLIC", "Amount", "Rotation", "WholeFile", "whole_file")

_PRIVATE = 0o600
"""The mode of records, which describe the memory of processes."""

PUBLIC = 0o666
"""The mode of files for display, subject to the umask."""


class WholeFile:
    """An unfinished file, with a temporary name beside the final one: ``.NAME.PID.part``.

    The name begins with a dot, so that ``*`` of a shell does not find it. A killed process leaves
    it. Raises UsageError if the final name is not a file, such as a device, which would be
    replaced.
    """

    def __init__(self, path: str, mode: int = _PRIVATE) -> None:
        directory, name = os.path.split(os.path.abspath(path))
        if path == "-" or _other(path):  # `-` is a standard stream elsewhere
            hint = "name a file, existing or new"
            raise UsageError(f"`{path}` is not a file that can be replaced", hint=hint)
        self.path = path
        self.part = os.path.join(directory, f".{name}.{os.getpid()}.part")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.part)  # from an earlier process with our pid
            self.file: IO[bytes] = os.fdopen(os.open(self.part, flags, mode), "w+b")
        except OSError as error:
            error.filename = path  # nobody uses the temporary name
            raise

    def finish(self, *, durable: bool = True) -> None:
        """Give the file its final name, replacing any other."""
        self.file.flush()
        if durable:
            os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.part, self.path)

    def discard(self) -> None:
        """Remove the unfinished file."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.part)
        with contextlib.suppress(OSError):  # there may be no space for buffered data
            self.file.close()


def _other(path: str) -> bool:
    """Return whether a name is not a file: a directory, a device, or empty."""
    if os.path.basename(path) in ("", ".", ".."):
        return True
    try:
        kind = os.lstat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISLNK(kind))


@contextlib.contextmanager
def whole_file(path: str, mode: int = _PRIVATE, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write a file atomically, of mode 0600 by default, if the block succeeds.

    Unless ``durable``, a power cut may leave an empty file.
    """
    made = WholeFile(path, mode)
    try:
        yield made.file
        made.finish(durable=durable)
    except OSError as error:
        made.discard()
        error.filename = error.filename or path
        raise
    except BaseException:
        made.discard()
        raise


class Amount(NamedTuple):
    """The amount recorded."""

    snapshots: int = 0
    regions: int = 0

    def without(self, other: Amount) -> Amount:
        """Return the difference to another amount."""
        return Amount(self.snapshots - other.snapshots, self.regions - other.regions)


class Rotation:
    """The names of rotated files: the newest is ``NAME.EXT``, then ``NAME.1.EXT``, ….

    With ``keep``, only that many are kept, and ``discarded`` counts the content of the others.
    Files of an earlier recording are removed when the first one is finished, so that an earlier
    failure loses nothing.
    """

    def __init__(self, path: str, keep: int | None = None) -> None:
        self.path = path
        self.keep = keep
        self.finished = 0
        self._ends = [Amount()]
        """The total amount at the end of each kept file, and of the one before them."""

    @property
    def discarded(self) -> Amount:
        """The amount in removed files."""
        return self._ends[0]

    def name(self, number: int) -> str:
        """Return the name of a file by its rank, 0 for the newest."""
        base, suffix = os.path.splitext(self.path)
        return f"{base}.{number}{suffix}" if number else self.path

    def refuse_to_overwrite(self) -> None:
        """Raise UsageError if the name already exists."""
        there = [self.path] if os.path.lexists(self.path) else self._numbered()
        if there:
            hint = "name another file, or overwrite it with `--force`"
            raise UsageError(f"`{there[0]}` already exists", hint=hint)

    def try_out(self) -> None:
        """Raise the errors of `WholeFile` early, before hours are recorded in vain."""
        WholeFile(self.path).discard()

    def finish(self, made: WholeFile, so_far: Amount) -> None:
        """Give a file the newest name, and the others the next one."""
        self.make(lambda _: made.finish(), so_far)

    def make(self, write: Callable[[str], None], so_far: Amount) -> None:
        """Have ``write`` make a file with the newest name; the others get the next one."""
        self._move()
        write(self.path)
        self._ends.append(so_far)
        if self._left(self.finished) == self._left(self.finished + 1):
            del self._ends[0]
        self.finished += 1

    def _left(self, finished: int) -> int:
        return finished if self.keep is None else min(finished, self.keep)

    def _move(self) -> None:
        if not self.finished:
            for old in self._numbered():
                os.unlink(old)
        else:
            for number in range(self._left(self.finished + 1) - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self.name(number - 1), self.name(number))

    @property
    def names(self) -> list[str]:
        """The kept files, newest first."""
        return [self.name(number) for number in range(self._left(self.finished))]

    def _numbered(self) -> list[str]:
        base, suffix = os.path.splitext(os.path.basename(self.path))
        mine = re.compile(re.escape(base) + r"\.[1-9][0-9]*" + re.escape(suffix))
        directory = os.path.dirname(self.path)
        try:
            names = os.listdir(directory or ".")
        except FileNotFoundError:
            return []
        found = (os.path.join(directory, each) for each in names if mine.fullmatch(each))
        return sorted(each for each in found if not _other(each))
