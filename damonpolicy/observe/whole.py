"""Files that have their names only once they are complete, of which a limited number is kept."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from damonpolicy.errors import UsageError

__all__ = ("PUBLIC", "Amount", "Rotation", "WholeFile", "whole_file")

_PRIVATE = 0o600
"""Records tell about the memory of processes."""

PUBLIC = 0o666
"""What was made to be shown, as the umask allows."""


class WholeFile:
    """A file in the making, with a name beside the one that it gets: ``.NAME.PID.part``.

    Its name begins with a dot, so that ``*`` of a shell does not find it. Who is killed leaves it.
    Raises UsageError where the name is of something else, as a device: it would be replaced.
    """

    def __init__(self, path: str, mode: int = _PRIVATE) -> None:
        directory, name = os.path.split(os.path.abspath(path))
        if path == "-" or _other(path):  # which elsewhere is a standard stream
            hint = "name a file, or one that is not there yet"
            raise UsageError(f"`{path}` is no file that can be replaced", hint=hint)
        self.path = path
        self.part = os.path.join(directory, f".{name}.{os.getpid()}.part")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.part)  # of a process that had our number
            self.file: IO[bytes] = os.fdopen(os.open(self.part, flags, mode), "w+b")
        except OSError as error:
            error.filename = path  # nobody knows the other name
            raise

    def finish(self) -> None:
        """Give it its name, whatever was there under it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.part, self.path)

    def discard(self) -> None:
        """Remove what was made."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.part)
        with contextlib.suppress(OSError):  # what is left of it may find no room
            self.file.close()


def _other(path: str) -> bool:
    """Tell whether a name is none of a file: of a directory, a device, or of nothing."""
    if os.path.basename(path) in ("", ".", ".."):
        return True
    try:
        kind = os.lstat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISLNK(kind))


@contextlib.contextmanager
def whole_file(path: str, mode: int = _PRIVATE) -> Iterator[IO[bytes]]:
    """Write a file, of mode 0600 unless given, that appears or replaces another once all is well."""
    made = WholeFile(path, mode)
    try:
        yield made.file
        made.finish()
    except OSError as error:
        made.discard()
        error.filename = error.filename or path
        raise
    except BaseException:
        made.discard()
        raise


class Amount(NamedTuple):
    """How much was recorded."""

    snapshots: int = 0
    regions: int = 0

    def without(self, other: Amount) -> Amount:
        """Return what is left without another."""
        return Amount(self.snapshots - other.snapshots, self.regions - other.regions)


class Rotation:
    """Names of files that follow each other: the newest is ``NAME.EXT``, then ``NAME.1.EXT``, ….

    With ``keep`` no more than that are left, and ``discarded`` counts what was in others. Files of
    an earlier recording go when the first one is finished, so that what fails before that loses
    nothing.
    """

    def __init__(self, path: str, keep: int | None = None) -> None:
        self.path = path
        self.keep = keep
        self.finished = 0
        self._ends = [Amount()]
        """How much had come when each file that is left was finished, and the one before them."""

    @property
    def discarded(self) -> Amount:
        """How much was in files that are gone."""
        return self._ends[0]

    def name(self, number: int) -> str:
        """Return the name of a file by its age, 0 for the newest."""
        base, suffix = os.path.splitext(self.path)
        return f"{base}.{number}{suffix}" if number else self.path

    def refuse_to_overwrite(self) -> None:
        """Raise UsageError where there is something under the name already."""
        there = [self.path] if os.path.lexists(self.path) else self._numbered()
        if there:
            hint = "name another file, or overwrite it with `--force`"
            raise UsageError(f"`{there[0]}` is there already", hint=hint)

    def try_out(self) -> None:
        """Raise what `WholeFile` would, before hours were recorded for nothing."""
        WholeFile(self.path).discard()

    def finish(self, made: WholeFile, so_far: Amount) -> None:
        """Give a file the newest name, and the others the next one."""
        self._move()
        made.finish()
        self._count(so_far)

    def make(self, write: Callable[[str], None], so_far: Amount) -> None:
        """Let ``write`` make a file of the newest name; the others get the next one."""
        self._move()
        write(self.path)
        self._count(so_far)

    def _count(self, so_far: Amount) -> None:
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
        """The files that are left, the newest first."""
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
