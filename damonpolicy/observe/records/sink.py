"""What keeps snapshots as they come, in files that follow each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from damonpolicy.base.atomic import Amount, Rotation
from damonpolicy.observe.regions import Intervals, Regions, Source

__all__ = ("Sink",)


class Sink(ABC):
    """Takes snapshots; a context that finishes the last file when it is left.

    The newest ``keep`` files are left, all by default.
    """

    def __init__(self, path: str, *, limit_bytes: int = 0, keep: int | None = None) -> None:
        self.rotation = Rotation(path, keep)
        self._limit = limit_bytes
        self.snapshots = 0
        self.rows = 0
        self._waiting: dict[Source, list[tuple[int, int, Intervals, Regions]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    @property
    def names(self) -> list[str]:
        """The finished files that still exist, newest first."""
        return self.rotation.names

    @property
    def taken(self) -> Amount:
        """How much has come."""
        return Amount(self.snapshots, self.rows)

    @property
    def kept(self) -> Amount:
        """How much there is in files that are still there, or in the making."""
        return self.taken.without(self.rotation.discarded)

    def add(
        self, source: Source, begin: int, end: int, intervals: Intervals, regions: Regions
    ) -> None:
        """Add a snapshot; ``begin`` and ``end`` are nanoseconds since the epoch."""
        self._waiting.setdefault(source, []).append((begin, end, intervals, regions))
        self.snapshots += 1
        self.rows += len(regions)
        self._grown(len(regions))

    @abstractmethod
    def _grown(self, rows: int) -> None:
        """Write what waits if it is much, now that a snapshot of so many regions has come."""

    @abstractmethod
    def finish(self) -> None:
        """Write buffered data and give the file its name; the next snapshot begins another one."""
