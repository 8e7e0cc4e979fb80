"""Reader of DAMON's trace events from tracefs, through a private instance.

An instance has a buffer, a clock and filters of its own (Documentation/trace/ftrace.rst,
"Instances"). It writes none of DAMON's own files, and does not hold its lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import time
from collections.abc import Iterable

from damonpolicy.base.errors import KernelLacks
from damonpolicy.kernel.system.machine import forbid_live

__all__ = ("AGGREGATED", "TRACEFS", "Tracing", "available", "remove_leftovers")

TRACEFS = "/sys/kernel/tracing"
AGGREGATED = "damon_aggregated"
_WITH_HITS = "damon_region_aggregated"
"""The event with the same data and hits of probes, for kdamonds with probes; from 7.2 on."""
_TUNE = "damon_monitor_intervals_tune"
"""The event with tuned intervals, from 6.17 on."""

_OURS = re.compile(r"damonpolicy-(\d+)")
_EVENT_BYTES = 64
"""An event of 48 to 52 bytes with its header in the ring buffer, rounded up."""

_LEAST_KIB = 256
_CHUNK = 1 << 16
_PATIENCE, _PAUSE = 1.0, 0.01
"""Seconds for which to retry the removal of a busy instance, and between two tries."""


def available(root: str = TRACEFS) -> bool:
    """Return whether tracefs exists, may be used, and has DAMON's event."""
    return os.access(f"{root}/events/damon/{AGGREGATED}/format", os.R_OK) and os.access(
        f"{root}/instances", os.W_OK
    )


def remove_leftovers(root: str = TRACEFS) -> list[str]:
    """Remove the instances of killed processes, and return their names."""
    removed = []
    for name in sorted(os.listdir(f"{root}/instances")):
        found = _OURS.fullmatch(name)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            with contextlib.suppress(OSError):  # someone in another pid namespace reads it
                _remove(f"{root}/instances/{name}")
                removed.append(name)
    return removed


def _remove(instance: str) -> None:
    forbid_live(instance)
    with contextlib.suppress(OSError):
        _put(f"{instance}/events/damon/enable", "0")
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            os.rmdir(instance)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _put(path: str, text: str, how: int = os.O_TRUNC) -> None:
    forbid_live(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | how)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


class Tracing(contextlib.AbstractContextManager["Tracing"]):
    """A running trace of kdamonds; a context manager that removes its instance at the end.

    ``regions`` is the most that one aggregation reports: the buffer of each CPU holds two.
    Times of events are nanoseconds of CLOCK_BOOTTIME; ``epoch`` added to them makes them those
    of the wall clock, as it was at the start. Raises KernelLacks where tracefs or the event is
    missing, OSError where it may not be used.
    """

    def __init__(self, *, regions: int = 1000, root: str = TRACEFS) -> None:
        if not os.path.isdir(f"{root}/events/damon/{AGGREGATED}"):
            there = os.path.isdir(f"{root}/events")
            message = (
                "there is no tracefs" if not there else "the kernel lacks trace events of DAMON"
            )
            hint = (
                f"`mount -t tracefs none {root}`"
                if not there
                else "read regions: `--source regions`"
            )
            raise KernelLacks(message, hint=hint)
        forbid_live(f"{root}/instances")
        remove_leftovers(root)
        self.instance = f"{root}/instances/damonpolicy-{os.getpid()}"
        self.epoch = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._pipe = -1
        self._pids: set[int] = set()
        os.mkdir(self.instance, 0o700)
        try:
            size = max(2 * regions * _EVENT_BYTES >> 10, _LEAST_KIB)
            _put(f"{self.instance}/trace_clock", "boot")
            _put(f"{self.instance}/buffer_size_kb", str(size))
            with contextlib.suppress(FileNotFoundError):  # before 5.0 any event wakes
                _put(f"{self.instance}/buffer_percent", "0")
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            self._pipe = os.open(f"{self.instance}/trace_pipe", flags)
        except BaseException:
            self.close()
            raise

    def follow(self, pids: Iterable[int]) -> None:
        """Trace these kdamonds as well, and no other task.

        Earlier kdamonds stay traced: removing a pid would interrupt the trace, and a thread that
        has ended emits nothing.
        """
        new = set(pids) - self._pids
        if not new:
            return
        # with O_TRUNC, all tasks would be traced until it is written (trace_events.c:
        # ftrace_event_set_open()); without a pid likewise, so events come after the first
        told = " ".join(str(each) for each in sorted(new))
        _put(f"{self.instance}/set_event_pid", told + "\n", os.O_APPEND)
        for event in (AGGREGATED, _WITH_HITS, _TUNE) if not self._pids else ():
            with contextlib.suppress(FileNotFoundError):
                _put(f"{self.instance}/events/damon/{event}/enable", "1")
        self._pids |= new

    def fileno(self) -> int:
        """Return a descriptor that is readable when there are events."""
        return self._pipe

    def read(self, seconds: float) -> str:
        """Return the available lines, after a bounded wait for the first one."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        poll.poll(max(seconds, 0) * 1000)
        parts = []
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._pipe, _CHUNK):
                parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")

    def close(self) -> None:
        """End the trace and remove the instance; a second call has no effect."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if os.path.isdir(self.instance):
            _remove(self.instance)

    def __exit__(self, *_: object) -> None:
        self.close()
