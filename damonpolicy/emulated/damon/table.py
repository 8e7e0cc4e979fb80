"""The files of one emulated kernel, and what its new directories hold.

A file is there if the kernel has the feature that brought it, or if none did
(`kernel.damon.schema`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

from damonpolicy.base.lazy import dataclass
from damonpolicy.emulated.profiles import Profile
from damonpolicy.kernel.damon.schema import ROWS, Row

__all__ = (
    "BUILD",
    "Directory",
    "Layout",
    "copy",
    "counted",
    "get",
    "layout",
    "number",
    "numbered",
)

Directory: TypeAlias = dict[str, Any]
"""Names to contents (`str`) or to further directories."""

BUILD = 16_384
"""The most directories before ENOMEM; real kernels fail a little above 500,000."""


_CONTEXT = "*/contexts/*"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one kernel, and the initial content of every numbered directory.

    ``templates`` has the directories by pattern: ``*`` for a kdamond's, ``*/contexts/*``
    for a context's; the topmost one is "".
    """

    files: dict[str, Row]
    templates: dict[str, Directory]
    commands: tuple[str, ...]

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
    for pattern, row in files.items():
        parts = pattern.split("/")
        here, where = templates[""], ""
        for index, part in enumerate(parts[:-1]):
            where = "/".join(parts[: index + 1])
            here = templates.setdefault(where, {}) if part == "*" else here.setdefault(part, {})
        here[parts[-1]] = row.default
    if f"{_CONTEXT}/avail_operations" in files:
        operations = files[f"{_CONTEXT}/operations"]
        templates[_CONTEXT]["avail_operations"] = "\n".join(operations.words)
    return Layout(files, templates, files["*/state"].words)


def _has(profile: Profile, feature: str) -> bool:
    return not feature or profile.has(feature)


def counted(pattern: str) -> str:
    """Return the pattern of the numbered directories that a count file makes."""
    directory = pattern.rpartition("/")[0]
    return f"{directory}/*" if directory else "*"


def get(directory: Directory, path: str, default: str = "") -> str:
    """Return the content of a file of a directory tree, ``default`` if it is missing."""
    here: Any = directory
    for part in path.split("/"):
        if part not in here:
            return default
        here = here[part]
    return str(here)


def number(directory: Directory, path: str) -> int:
    """Return the number in a file, 0 if it is missing."""
    return int(get(directory, path, "0"))


def numbered(directory: Directory) -> list[Directory]:
    """Return the numbered directories of a directory, in order."""
    found: list[Directory] = []
    while str(len(found)) in directory:
        found.append(directory[str(len(found))])
    return found
