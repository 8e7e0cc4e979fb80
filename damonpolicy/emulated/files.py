"""Building blocks of an emulated machine's parts: files, links and directories."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from damonpolicy.base.lazy import dataclass
from damonpolicy.emulated.values import Refusal

__all__ = ("Content", "Filesystem", "Index", "Link", "Part", "above")

_LINKS = 40
"""The most symbolic links to follow (include/linux/namei.h: MAXSYMLINKS)."""

_REMEMBERED = 1024
"""The number of directories whose parts are cached."""


@dataclass(slots=True)
class Content:
    """A file: its permission bits, its read function, and its write function if it has one.

    ``write`` raises `Refusal`; ``refused`` is the errno of writes to a file without one.
    """

    mode: int
    read: Callable[[], str | bytes]
    write: Callable[[str], None] | None = None
    refused: int = errno.EACCES


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; an empty target leads nowhere, as that of a kernel thread's exe."""

    target: str


class Part(Protocol):
    """A part of the machine's files; all paths are absolute."""

    @property
    def roots(self) -> tuple[str, ...]:
        """The prefixes of the paths of this part's files."""

    def file(self, path: str) -> Content | Link | None:
        """Return a file or link, or None."""

    def names(self, path: str) -> dict[str, bool] | None:
        """Return the names in a directory, and whether each is a directory; or None."""


def above(roots: Iterable[str]) -> dict[str, dict[str, bool]]:
    """Return the parents of some directories, in the form of `Part.names`."""
    found: dict[str, dict[str, bool]] = {}
    for root in roots:
        path = root
        while path != "/":
            path, _, name = path.rpartition("/")
            path = path or "/"
            found.setdefault(path, {})[name] = True
    return found


class Index:
    """Files that are known in advance, with their directories."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = frozenset(paths)
        self.directories = above(path.rpartition("/")[0] for path in self.paths)
        for path in self.paths:
            directory, _, name = path.rpartition("/")
            self.directories.setdefault(directory, {})[name] = False


class Filesystem:
    """All parts of a machine as one tree; every method raises only `Refusal`."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = tuple(parts)
        self._near = lru_cache(_REMEMBERED)(self._parts_near)

    def _parts_near(self, path: str) -> list[Part]:
        """Return the parts that can have a directory."""
        return [
            part
            for part in self.parts
            if path.startswith(part.roots) or any(root.startswith(path) for root in part.roots)
        ]

    def file(self, path: str) -> Content | Link | None:
        """Return a file or link, without following links."""
        for part in self.parts:
            if path.startswith(part.roots):
                found = part.file(path)
                if found is not None:
                    return found
        return None

    def names(self, path: str) -> dict[str, bool] | None:
        """Return the entries of a directory from all parts, None if no part has it."""
        found: dict[str, bool] | None = None
        for part in self._near(path):
            names = part.names(path)
            if names is not None:
                found = {**(found or {}), **names}
        return found

    def content(self, path: str) -> Content:
        """Return a file, through links; raises ENOENT, ENOTDIR or EISDIR otherwise."""
        found = self.file(path)
        if not isinstance(found, Content):
            path = self.resolve(path)
            found = self.file(path)
        if isinstance(found, Content):
            return found
        raise self._missing(path) if self.names(path) is None else Refusal(errno.EISDIR)

    def _missing(self, path: str) -> Refusal:
        """Return the errno of a missing path: a file has nothing below it."""
        above = path.rpartition("/")[0]
        while above and self.names(above) is None:
            if self.file(above) is not None:
                return Refusal(errno.ENOTDIR)
            above = above.rpartition("/")[0]
        return Refusal(errno.ENOENT)

    def directory(self, path: str) -> dict[str, bool]:
        """Return the entries of a directory, through links; ENOENT or ENOTDIR otherwise."""
        found = self.names(path)
        if found is None and not isinstance(self.file(path), Content):
            path = self.resolve(path)
            found = self.names(path)
        if found is None:
            raise self._missing(path) if self.file(path) is None else Refusal(errno.ENOTDIR)
        return found

    def exists(self, path: str) -> bool:
        """Return whether a path exists; a link may lead nowhere."""
        if self.file(path) is not None or self.names(path) is not None:
            return True
        directory, _, name = path.rpartition("/")
        real = posixpath.join(self.resolve(directory or "/"), name)
        return self.file(real) is not None or self.names(real) is not None

    def mode(self, path: str) -> int:
        """Return permission bits, through links."""
        if self.names(path) is not None or self.names(self.resolve(path)) is not None:
            return 0o755
        return self.content(path).mode

    def resolve(self, path: str) -> str:
        """Follow every link of a path; missing parts stay as they are."""
        done, rest = "/", [part for part in posixpath.normpath(path).split("/") if part]
        for _ in range(_LINKS + len(rest)):
            if not rest:
                break
            here = posixpath.join(done, rest.pop(0))
            found = self.file(here)
            if not isinstance(found, Link):
                done = here
            elif found.target.startswith("/"):
                rest = [part for part in found.target.split("/") if part] + rest
                done = "/"
            elif found.target:
                done = posixpath.join(done, found.target)
            else:
                raise Refusal(errno.ENOENT)  # a kernel thread's exe: readlink(2) fails
        return done
