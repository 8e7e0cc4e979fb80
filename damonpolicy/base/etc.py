"""Root's configuration for damonpolicy below /etc, which only root may change."""

from __future__ import annotations

import os

from damonpolicy.base import trust

__all__ = ("POLICIES", "PROGRAMS", "ROOT", "SETTINGS", "SOURCES", "named", "paths", "within")

SETTINGS = "/etc/damonpolicy/settings.allow"
"""Further files and directories that policies may set."""
PROGRAMS = "/etc/damonpolicy/programs.allow"
"""The programs that policies may run to get a number."""
SOURCES = "/etc/damonpolicy/sources.allow"
"""Files and directories, not readable by everybody, from which policies may read numbers."""

POLICIES = (
    "/usr/lib/damonpolicy/policies.d",
    "/run/damonpolicy/policies.d",
    "/etc/damonpolicy/policies.d",
)
"""Directories in which the service looks for policies; the last with a file name wins."""

ROOT = trust.Keepers(frozenset({0}))
"""Who may change these lists, even if we run as another user."""

_MOST = 1 << 20


def named(path: str) -> tuple[str, ...]:
    """Return the entries of a list: one absolute path per line; ``#`` begins a comment.

    A missing list is empty. Raises Untrusted for one that others can change, OSError for one that
    cannot be read.
    """
    try:
        descriptor = trust.open_trusted(path, ROOT)
    except FileNotFoundError:
        return ()
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape") as stream:
        return paths(stream.read(_MOST))


def paths(text: str) -> tuple[str, ...]:
    """Return the absolute paths in the text of a list."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line.startswith("/"))


def within(path: str, places: tuple[str, ...]) -> bool:
    """Return whether a list names a path, or (with a final `/`) a directory above it."""
    return any(path.startswith(each) if each.endswith("/") else path == each for each in places)
