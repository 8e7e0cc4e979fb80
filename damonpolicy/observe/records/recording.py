"""Recording of snapshots as they come, in files of any form."""

from __future__ import annotations

from typing import Any

from damonpolicy.observe.records import files as records
from damonpolicy.observe.records import parquet
from damonpolicy.observe.records.sink import Sink
from damonpolicy.observe.regions import Source, series_of

__all__ = ("Collector", "Tally", "sink_of")

_ROW = 44
"""Bytes of a region in memory, as its size on disk in damo's forms is unknown in advance."""


class Collector(Sink):
    """A sink that collects a whole file in memory, as damo's forms can only be written at once.

    Files follow each other as those of `parquet.Writer` do; ``limit_bytes`` is about memory.
    """

    def __init__(self, path: str, form: str, *, limit_bytes: int, keep: int | None) -> None:
        super().__init__(path, limit_bytes=limit_bytes, keep=keep)
        self._form = form
        self._bytes = 0

    def _grown(self, rows: int) -> None:
        self._bytes += _ROW * (rows + 1)
        if self._limit and self._bytes >= self._limit:
            self.finish()

    def finish(self) -> None:
        if self._waiting:
            series = [series_of(*pair) for pair in self._waiting.items()]
            self.rotation.make(lambda path: records.write(path, series, self._form), self.taken)
        self._waiting.clear()
        self._bytes = 0


def sink_of(path: str, form: str, *, limit_bytes: int, keep: int | None) -> Sink:
    """Return a sink for one of `records.FORMS`."""
    if form == "parquet":
        return parquet.Writer(path, limit_bytes=limit_bytes, keep=keep)
    return Collector(path, form, limit_bytes=limit_bytes, keep=keep)


class Tally:
    """A counter in front of a sink, which shows when there are enough snapshots of each source."""

    def __init__(self, sink: Sink, most: int = 0) -> None:
        self._sink = sink
        self._most = most
        self._counts: dict[Source, int] = {}

    def add(self, source: Source, *snapshot: Any) -> None:
        """Add a snapshot to the sink, unless there are enough of its source."""
        count = self._counts.setdefault(source, 0)
        if not self._most or count < self._most:
            self._sink.add(source, *snapshot)
            self._counts[source] = count + 1

    def enough(self, sources: list[Source]) -> bool:
        """Return whether there are enough of all these sources."""
        return self._most > 0 and all(self._counts.get(each, 0) >= self._most for each in sources)
