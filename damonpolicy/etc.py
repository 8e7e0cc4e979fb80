"""What root keeps for damonpolicy below /etc, and who may change it: root, and nobody else."""

from __future__ import annotations

import os

from damonpolicy import trust

__all__ = ("POLICIES", "PROGRAMS", "ROOT", "SETTINGS", "SOURCES", "named", "paths", "within")

SETTINGS = "/etc/damonpolicy/settings.allow"
"""Further files and directories that policies may set."""
PROGRAMS = "/etc/damonpolicy/programs.allow"
"""The programs that policies may run to get a number."""
SOURCES = "/etc/damonpolicy/sources.allow"
"""Files and directories that policies may read numbers from though not everybody can read them."""

POLICIES = (
    "/usr/lib/damonpolicy/policies.d",
    "/run/damonpolicy/policies.d",
    "/etc/damonpolicy/policies.d",
)
"""Where the service looks for policies; the last that has a file name wins."""

ROOT = trust.Keepers(frozenset({0}))
"""Who may be able to change these lists: also where we run as somebody else."""

_MOST = 1 << 20


def named(path: str) -> tuple[str, ...]:
    """Return what a list names: one absolute path in each line; ``#`` begins a comment.

    A list that is not there names nothing. Raises Untrusted for one that others can change,
    OSError for one that cannot be read.
    """
    try:
        descriptor = trust.open_trusted(path, ROOT)
    except FileNotFoundError:
        return ()
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape") as stream:
        return paths(stream.read(_MOST))


def paths(text: str) -> tuple[str, ...]:
    """Return the absolute paths that the text of a list names."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line.startswith("/"))


def within(path: str, places: tuple[str, ...]) -> bool:
    """Tell whether a list names a path, or (with a final `/`) a directory above it."""
    return any(path.startswith(each) if each.endswith("/") else path == each for each in places)
