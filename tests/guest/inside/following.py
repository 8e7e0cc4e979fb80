"""Processes that start and end beside a running service, and what its kdamond monitors."""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .policy import KDAMONDS, has, wait_for
from .served import SECONDS, Service, Writes, content

__all__ = ("NAME", "WATCH", "Crowd", "followed", "misplaced", "monitored")

NAME = "worker"
WATCH = f"""
version: 1
name: watch
kdamonds:
  - name: workers
    ops: vaddr
    targets: [{{process: {{name: {NAME}}}}}]
    intervals: {{sample: 5ms, aggregation: 100ms}}
    schemes: [{{name: seen, action: stat}}]
"""

_TARGETS = KDAMONDS / "0/contexts/0/targets"
_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_TRACE = Path("/sys/kernel/tracing")
_AGGREGATED = re.compile(r"damon_aggregated: target_id=(\d+) nr_regions=\d+ (\d+)-(\d+):")
_LOOKED_UP = re.compile(r"-(\d+) .* (\d+\.\d+): damonpolicy: .* pid=(\d+)")
_MOST = 8
"""Workers that live at the same time."""
_PAUSE = 0.2
"""Seconds between two things that happen."""
_BLIND = 0.1
"""Seconds that may lie between the service's last look at a pid and the kernel's, which knows no
start times: a busy guest may stand still there. Commits that did not look are later by more."""


def monitored() -> list[int]:
    """Return the processes that the files name, in the order of the targets."""
    count = int(content("0/contexts/0/targets/nr_targets") or "0")
    texts = [content(f"0/contexts/0/targets/{each}/pid_target") for each in range(count)]
    return [int(text) for text in texts if text]  # the list may be shortened meanwhile


@dataclass(slots=True)
class Crowd:
    """Workers that come and go, and strangers that take their pids."""

    directory: Path
    chance: random.Random
    began: dict[int, float] = field(default_factory=dict)
    """When a worker that no commit has taken in was started."""
    waits: list[float] = field(default_factory=list)
    """Seconds from a worker's start until it was monitored."""
    lookups: int = 0
    """How often commits looked up a pid."""
    wrong: list[str] = field(default_factory=list)
    """What no commit may ever do."""
    first: int = 0
    _workers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _strangers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _taken: dict[int, float] = field(default_factory=dict)

    def start(self) -> int:
        """Start a worker; returns its pid."""
        program = self.directory / NAME
        if not program.exists():
            program.symlink_to("/bin/sleep")
        now = time.monotonic()
        worker = subprocess.Popen([str(program), "10000"])
        self._workers[worker.pid] = worker
        self.began[worker.pid] = now
        return worker.pid

    def exit(self, pid: int = 0) -> int:
        """End a worker, any if none is named; returns its pid."""
        gone = pid or self.chance.choice(sorted(self.alive - {self.stays}))
        self.began.pop(gone, None)
        worker = self._workers.pop(gone)
        worker.kill()
        worker.wait()
        return gone

    def reuse(self, pid: int) -> None:
        """Let another program have a pid that has become free; from when on cannot be told sooner."""
        _LAST_PID.write_text(str(pid - 1), encoding="ascii")
        stranger = subprocess.Popen(["/bin/sleep", "10000"])
        self._strangers.append(stranger)
        if stranger.pid == pid:
            self._taken[pid] = time.monotonic()

    @property
    def stays(self) -> int:
        """The worker that never ends, where the kernel could not bear it.

        Before 6.19 the one after the first gets the first one's regions, if that ends: the plan
        says so (damonpolicy/plan/online.py).
        """
        return 0 if has("target.obsolete") else self.first

    @property
    def reused(self) -> int:
        """How many pids strangers have taken over."""
        return len(self._taken)

    @property
    def alive(self) -> set[int]:
        """The pids of all workers."""
        return set(self._workers)

    def committed(self, when: float) -> None:
        """Take note of a commit that ended at a time: whom it took in."""
        for pid in monitored():
            if pid in self.began:
                self.waits.append(when - self.began.pop(pid))

    def looked_up(self, pid: int, when: float) -> None:
        """Take note that a commit looked up a pid: it may not have been a stranger's then."""
        if when > self._taken.get(pid, when) + _BLIND:
            self.wrong.append(f"pid {pid} was a stranger's for {when - self._taken[pid]:.3f} s")

    def end(self) -> None:
        """End everybody."""
        for each in [*self._workers.values(), *self._strangers]:
            each.kill()
            each.wait()
        self._workers.clear()


def followed(service: Service, crowd: Crowd, times: int, *, pause: float = _PAUSE) -> None:
    """Start and end so many workers, each fifth's pid going to a stranger; watch each commit."""
    crowd.first = crowd.start()
    service.put("w.yaml", WATCH)
    assert wait_for(lambda: set(monitored()) == crowd.alive, SECONDS), service.log.read_text()
    crowd.began.clear()
    with _looked_up(crowd), Writes(KDAMONDS / "0/state") as writes:
        for number in range(times):
            crowd.start()
            _watch(crowd, writes, pause)
            if len(crowd.alive) > crowd.chance.randrange(2, _MOST):
                gone = crowd.exit()
                if number % 5 == 0 or not crowd.reused:
                    crowd.reuse(gone)
            _watch(crowd, writes, pause)
            if number % 10 == 9:
                crowd.wrong += misplaced()
        deadline = time.monotonic() + SECONDS
        while set(monitored()) != crowd.alive and time.monotonic() < deadline:
            _watch(crowd, writes, pause)
        while len(crowd.alive) > 1:
            crowd.exit(max(crowd.alive))
            _watch(crowd, writes, pause)
    assert wait_for(lambda: set(monitored()) == crowd.alive, SECONDS), (monitored(), crowd.alive)


@contextmanager
def _looked_up(crowd: Crowd) -> Iterator[None]:
    """Let the kernel tell which pids others than we look up (kernel/pid.c, find_get_pid()).

    A commit does so for each target: it is the only moment at which a number counts.
    """
    probes, event = _TRACE / "kprobe_events", _TRACE / "events/kprobes/damonpolicy/enable"
    clock, trace = _TRACE / "trace_clock", _TRACE / "trace"
    probes.write_text("p:damonpolicy find_get_pid pid=%di:s32", encoding="ascii")
    clock.write_text("mono", encoding="ascii")
    trace.write_text("", encoding="ascii")
    event.write_text("1", encoding="ascii")
    try:
        yield
    finally:
        event.write_text("0", encoding="ascii")
        lines = trace.read_text(encoding="ascii")
        probes.write_text("", encoding="ascii")
        clock.write_text("local", encoding="ascii")
    for thread, when, pid in _LOOKED_UP.findall(lines):
        if int(thread) != os.getpid():
            crowd.lookups += 1
            crowd.looked_up(int(pid), float(when))


def _watch(crowd: Crowd, writes: Writes, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            crowd.committed(writes.next(left))
        except TimeoutError:
            return


def misplaced() -> list[str]:
    """Return regions that the kernel counts for another process than the files name.

    Addresses of processes differ (randomised), and the kernel tells of each region to which
    target it belongs (the tracepoint damon_aggregated): it has to lie in that one's memory.
    """
    before = monitored()
    spans = {pid: _span(pid) for pid in before}
    instance = _TRACE / "instances/damonpolicy"
    instance.mkdir()
    try:
        (instance / "events/damon/damon_aggregated/enable").write_text("1", encoding="ascii")
        time.sleep(0.25)
        lines = (instance / "trace").read_text(encoding="ascii")
    finally:
        instance.rmdir()
    if monitored() != before:
        return []  # a commit came in between: it cannot be told what was before and what after
    found = []
    for index, start, end in (map(int, each) for each in _AGGREGATED.findall(lines)):
        span = spans[before[index]] if index < len(before) else None
        if span is not None and (start < span[0] or end > span[1]):
            found.append(f"{start:x}-{end:x} of target {index}, pid {before[index]} is not its")
    return found


def _span(pid: int) -> tuple[int, int] | None:
    """Return first and last address of a process, None where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    ranges = [line.split()[0].split("-") for line in lines if "vsyscall" not in line]
    if not ranges:
        return None
    return int(ranges[0][0], 16), int(ranges[-1][1], 16)
