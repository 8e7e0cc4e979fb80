"""Trace events of an emulated machine's kdamonds, with the interface of `kernel.damon.tracing`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from itertools import groupby

from damonpolicy.emulated.damon.regions import Region
from damonpolicy.emulated.machine import EmulatedMachine

__all__ = ("EmulatedTracing",)


class EmulatedTracing(AbstractContextManager["EmulatedTracing"]):
    """A trace of kdamonds at the end of each aggregation."""

    def __init__(self, machine: EmulatedMachine) -> None:
        self._machine = machine
        self._pids: set[int] = set()
        self._due: dict[int, float] = {}
        self.epoch = time.time_ns() - round(machine.monotonic() * 1e9)

    def follow(self, pids: Iterable[int]) -> None:
        """Trace these kdamonds from now on."""
        self._pids = set(pids)

    def read(self, seconds: float) -> str:
        """Advance the time until there are events, with a limit, and return them as lines."""
        machine = self._machine
        end = machine.monotonic() + seconds
        while True:
            now, text, next_due = machine.monotonic(), "", end
            for pid, interval, regions in machine.aggregated():
                if pid not in self._pids:
                    continue
                due = self._due.setdefault(pid, now + interval / 1e6)
                if now >= due:
                    text += _lines(pid, now, regions)
                    due = self._due[pid] = max(due, now - interval / 1e6) + interval / 1e6
                next_due = min(next_due, due)
            if text or now >= end:
                return text
            machine.sleep(next_due - now)

    def close(self) -> None:
        """End the trace: there is nothing to remove."""

    def __exit__(self, *_: object) -> None:
        self.close()


def _lines(pid: int, now: float, seen: list[tuple[Region, list[int]]]) -> str:
    """Return lines as the kernel prints them (include/trace/events/damon.h)."""
    head, text = f"kdamond.0-{pid} [000] ..... {now:.6f}: ", ""
    for target, own in groupby(seen, key=lambda each: each[0].target):
        rows = list(own)
        for row, hits in rows:
            said = f"target_id={target} nr_regions={len(rows)} {row.start}-{row.end}:"
            said += f" {row.accesses} {row.age}"
            text += f"{head}damon_aggregated: {said}\n"
            if hits:
                counts = " ".join(f"{each:02x}" for each in hits)
                text += f"{head}damon_region_aggregated: {said} probe_hits={counts}\n"
    return text
