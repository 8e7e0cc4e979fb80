"""The mounts of this machine, and what they hide from a guest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

__all__ = ("below", "mount_points", "on_the_way", "outermost", "remove_tree")


def mount_points() -> list[PurePosixPath]:
    """Return all mount points of this process' mount namespace."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    points = [line.split()[4] for line in text.splitlines()]
    return [
        PurePosixPath(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), point))
        for point in points
    ]


def on_the_way(paths: Iterable[Path]) -> list[Path]:
    """Return the mount points other than / that lie on the way to these paths, outer first.

    A guest gets / without what is mounted on it, so that it never sees this machine's
    live /sys and /proc; what it needs of other file systems is put back one by one.
    """
    wanted = [PurePosixPath(path) for path in paths]
    points = {
        point
        for point in mount_points()
        if str(point) != "/" and any(path.is_relative_to(point) for path in wanted)
    }
    return [Path(point) for point in sorted(points, key=lambda point: len(point.parts))]


def below(paths: Iterable[Path], places: Iterable[str]) -> list[Path]:
    """Return those of the paths that lie below one of the places."""
    roots = [Path(place) for place in places]
    return [
        path for path in paths if any(path.is_relative_to(root) and path != root for root in roots)
    ]


def outermost(paths: Iterable[Path]) -> list[Path]:
    """Drop the paths that lie in another one, and repetitions."""
    kept: list[Path] = []
    for path in sorted(set(paths), key=lambda path: (len(path.parts), path)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def remove_tree(path: Path) -> None:
    """Remove a directory of ours with all in it, but never across a mount.

    A guest's root is a bind mount of /: were one ever left behind in a directory that is
    removed, all of this machine would go with it.
    """
    inside = [point for point in mount_points() if point.is_relative_to(path.absolute())]
    if inside:
        raise OSError(f"{path} is not removed: {inside[0]} is mounted in it")
    shutil.rmtree(path)
