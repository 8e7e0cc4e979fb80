"""The files of one emulated kernel, what its new directories hold, and views of them.

A file is there if the kernel has the feature that brought it, or if none did
(`kernel.damon.schema`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, TypeAlias, cast

from damonpolicy.base.lazy import dataclass
from damonpolicy.emulated.profiles import Profile
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.directory import Directory as Viewed
from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.schema import ROWS, Row, pattern

__all__ = (
    "BUILD",
    "CONTEXT",
    "Directory",
    "Files",
    "Layout",
    "copy",
    "counted",
    "entry",
    "inside",
    "layout",
    "look",
    "parts",
    "put",
)

Directory: TypeAlias = dict[str, Any]
"""Names to contents (`str`) or to further directories."""

BUILD = 16_384
"""The most directories before ENOMEM; real kernels fail a little above 500,000."""

CONTEXT = view.Kdamond().ops.path.rpartition("/")[0]
"""The directory of a kdamond's one context."""
_AVAILABLE = pattern(f"0/{view.Kdamond().available_ops.path}")


@lru_cache(1 << 14)
def parts(path: str) -> tuple[str, ...]:
    """Return the names of a path."""
    return tuple(path.split("/"))


def entry(top: Directory, path: str) -> Any:
    """Return a file's content or a directory below another one, None if missing."""
    here: Any = top
    try:
        for part in parts(path):
            here = here[part]
    except (KeyError, TypeError):  # a file has nothing below it
        return None
    return here


class Files(Mapping[str, str]):
    """The files below a directory, by path, for views of them."""

    __slots__ = ("top",)

    def __init__(self, top: Directory) -> None:
        self.top = top

    def get(self, path: str, /, default: Any = None) -> Any:
        """Return a file's content, ``default`` if it is missing."""
        found = entry(self.top, path)
        return found if isinstance(found, str) else default

    def __getitem__(self, path: str) -> str:
        found: str | None = self.get(path)
        if found is None:
            raise KeyError(path)
        return found

    def __setitem__(self, path: str, text: str) -> None:
        *above, name = parts(path)
        here = self.top
        for part in above:
            here = here.setdefault(part, {})
        here[name] = text

    def __iter__(self) -> Iterator[str]:
        for name, value in self.top.items():
            if isinstance(value, str):
                yield name
            else:
                yield from (f"{name}/{path}" for path in Files(value))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def look(context: Directory) -> view.Kdamond:
    """Return the view of a kdamond by the files of its context."""
    here = context
    for name in reversed(parts(CONTEXT)):
        here = {name: here}
    return view.Kdamond(Files(here))


def inside(directory: Viewed) -> Directory:
    """Return the content of a directory of `look`; a missing one has none."""
    found: Directory | None = entry(cast("Files", directory.tree).top, directory.path)
    return {} if found is None else found


def put(file: File, value: object) -> None:
    """Change a file of `look`, if the kernel has it."""
    if file.present:
        cast("Files", file.tree)[file.path] = str(value)


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one kernel, and the initial content of every numbered directory.

    ``templates`` has the directories by pattern: ``*`` for a kdamond's; the topmost one is "".
    """

    files: dict[str, Row]
    templates: dict[str, Directory]

    def fresh(self, pattern: str) -> Directory:
        """Return a new directory with defaults."""
        return copy(self.templates[pattern])


def copy(directory: Directory) -> Directory:
    """Return a copy that shares nothing mutable."""
    return {
        name: value if isinstance(value, str) else copy(value) for name, value in directory.items()
    }


@cache
def layout(profile: Profile) -> Layout:
    """Return the layout of a kernel, cached."""
    files = {}
    for row in ROWS:
        if _has(profile, row.feature):
            since = {word: each for word, each in row.since.items() if _has(profile, each)}
            files[row.path] = replace(row, since=since)
    templates: dict[str, Directory] = {"": {}}
    for path, row in files.items():
        *above, name = parts(path)
        here, where = templates[""], ""
        for index, part in enumerate(above):
            where = "/".join(above[: index + 1])
            here = templates.setdefault(where, {}) if part == "*" else here.setdefault(part, {})
        here[name] = row.default
    if _AVAILABLE in files:
        directory, _, name = _AVAILABLE.rpartition("/")
        operations = files[pattern(f"0/{view.Kdamond().ops.path}")]
        templates[directory][name] = "\n".join(operations.words)
    return Layout(files, templates)


def _has(profile: Profile, feature: str) -> bool:
    return not feature or profile.has(feature)


def counted(path: str) -> str:
    """Return the pattern of the numbered directories that a count file makes."""
    directory = path.rpartition("/")[0]
    return f"{directory}/*" if directory else "*"
