"""Processes that start and end many times a second beside a service. See tests/guest/churn.py.

python -m tests.guest.inside.churn RATE SECONDS
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .following import WATCH, monitored
from .policy import KDAMONDS, wait_for
from .served import SECONDS, Service, Writes, content, serving

__all__ = ("Churn", "churned")

NAME = "churn"
_SHORT, _LONG = 1.5, 4.0
"""Seconds that a process lives, at the least and at the most."""
_LASTS = 2.0
"""Seconds from which on a process has to be joined."""
_LEAST_SHARE, _LATEST_MEDIAN = 0.9, 2.0
"""How many of those have to be, and within how many seconds half of them."""
_STATE = Path("/run/damonpolicy/state.json")
_TICKS = 100
_CLOCK = 3
"""Ticks by which a start time and our own clock may differ, as that of the fork is read before."""


@dataclass(slots=True)
class Churn:
    """What came of it; times are of the clock of start times, in seconds."""

    lives: dict[int, tuple[float, float]]
    """When each process started, and for how long it was to live."""
    joined: dict[int, float] = field(default_factory=dict)
    """When the kernel had first taken a process as a target."""
    wrong: list[str] = field(default_factory=list)
    """Monitored pids that are none of ours."""
    alive: bool = False
    """Whether the service ran to the end."""
    commits: int = 0
    refused: int = 0
    """Transactions that were undone."""
    jobs: list[str] = field(default_factory=list)
    """Jobs of the service that failed."""
    log: str = ""
    began: float = 0.0
    ended: float = 0.0

    @property
    def rate(self) -> float:
        """How many started in a second: the forking process may not have kept up."""
        return len(self.lives) / (self.ended - self.began)

    @property
    def waits(self) -> list[float]:
        """Seconds until they were joined, of those that live long enough; infinity is never."""
        return [
            self.joined.get(pid, float("inf")) - start
            for pid, (start, life) in self.lives.items()
            if life >= _LASTS and start + life <= self.ended
        ]

    @property
    def share(self) -> float:
        """The share of those that was joined at all."""
        return sum(each < float("inf") for each in self.waits) / max(len(self.waits), 1)

    @property
    def median(self) -> float:
        """Within how many seconds half of those were joined."""
        return statistics.median(self.waits or [float("inf")])

    @property
    def good(self) -> bool:
        """Whether it is what docs/explanation/service.md promises."""
        return (
            self.alive
            and not self.wrong
            and not self.jobs
            and self.share >= _LEAST_SHARE
            and self.median <= _LATEST_MEDIAN
        )

    def __str__(self) -> str:
        waits = self.waits
        return (
            f"{self.rate:.1f} starts a second for {self.ended - self.began:.0f} s, {len(waits)} of"
            f" them live {_LASTS:g} s or more: {self.share:.1%} joined, median {self.median:.2f} s;"
            f" {self.commits} commits, {self.refused} undone, {len(self.wrong)} wrong,"
            f" {len(self.jobs)} failures of jobs, the service"
            f" {'runs' if self.alive else 'has ended'}"
        )


def churned(directory: Path, rate: float, seconds: float) -> Churn:
    """Let so many processes a second start and end beside a service; tell whom it joined."""
    with serving(directory) as service:
        service.put("w.yaml", WATCH.replace("name: worker", f"name: {NAME}"))
        assert wait_for(lambda: len(service.events("reload")) > 1, SECONDS)
        result = Churn({}, began=_now())
        seen: dict[int, float] = {}
        with _crowd(directory, rate, seconds) as crowd:
            assert wait_for(lambda: content("0/state") == "on", SECONDS), "the first one starts it"
            with Writes(KDAMONDS / "0/state") as writes:
                while crowd.poll() is None:
                    _look(writes, seen, result)
            result.ended = _now()
        result.lives = json.loads((directory / "lives").read_text(), object_hook=_lives)
        result.alive = service.process is not None and service.process.poll() is None
        _judge(service, result, seen)
    return result


def _lives(data: dict[str, list[float]]) -> dict[int, tuple[float, float]]:
    return {int(pid): (start, life) for pid, (start, life) in data.items()}


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _look(writes: Writes, seen: dict[int, float], result: Churn) -> None:
    """After each command that the kdamond took: whom the kernel's files list, committed."""
    try:
        writes.next(1.0)
    except TimeoutError:
        return
    now = _now()
    for pid in filter(None, monitored()):  # 0 is a target whose turn to be staged has not come
        seen.setdefault(pid, now)
    for pid, start in _members():
        result.joined.setdefault(pid, now)
        if abs(_start(pid, start) - start) > _CLOCK:
            result.wrong.append(f"pid {pid} was recorded as started at {start}")


def _members() -> list[tuple[int, int]]:
    """Return who was committed by the service's own word: what it verified, with start times."""
    try:
        data = json.loads(_STATE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [(pid, start) for slot in data["slots"].values() for pid, start in slot["members"]]


def _start(pid: int, other: int) -> int:
    """Return a process' start time; ``other`` where it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return other
    return int(text.rpartition(")")[2].split()[19])


def _judge(service: Service, result: Churn, seen: dict[int, float]) -> None:
    """Compare what was monitored with what was started, and take in what the log says."""
    for pid in {*seen, *result.joined}:
        if pid not in result.lives:
            result.wrong.append(f"pid {pid} is none of those that were started")
    for pid, start in _members():
        if pid in result.lives and abs(result.lives[pid][0] * _TICKS - start) > 10 * _CLOCK:
            result.wrong.append(f"pid {pid} started at another time than {start}")
    # a file shows a target before the commit, too: it counts once both have it
    result.joined = {pid: when for pid, when in result.joined.items() if pid in seen}
    result.commits = len(service.events("applied"))
    result.refused = len(service.events("undo"))
    result.jobs = [each["reason"] for each in service.events("job failed")]
    result.log = service.log.read_text(encoding="utf-8")


_PARENT = """
import json, os, random, signal, sys, time
rate, seconds, path = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has ended is nobody at once
chance, lives = random.Random(7), {}
now = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
begin, number = now(), 0
while (moment := now()) < begin + seconds:
    life = chance.uniform(SHORT, LONG)
    pid = os.fork()
    if not pid:
        with open("/proc/self/comm", "w") as stream:
            stream.write("NAME")
        memory = bytearray(1 << 18)
        time.sleep(life)
        os._exit(0)
    lives[pid] = (moment, life)
    number += 1
    time.sleep(max(begin + number / rate - now(), 0))
with open(path + ".new", "w") as stream:
    json.dump(lives, stream)
os.rename(path + ".new", path)
"""


@contextmanager
def _crowd(directory: Path, rate: float, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """Run who forks, as a process of its own: it is small, and forks are cheap."""
    text = _PARENT.replace("SHORT", str(_SHORT)).replace("LONG", str(_LONG))
    command = [sys.executable, "-I", "-S", "-c", text.replace("NAME", NAME), str(rate),
               str(seconds), str(directory / "lives")]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def main() -> int:
    """Run it once, and print what came of it."""
    rate, seconds = map(float, sys.argv[1:3])
    result = churned(Path(tempfile.mkdtemp(prefix="churn-")), rate, seconds)
    print(result, flush=True)
    for line in (*result.wrong[:3], *result.jobs[:3]):
        print(f"  {line}", flush=True)
    if not result.joined:
        print(result.log[-6000:], flush=True)
    return int(not result.good)


if __name__ == "__main__":
    sys.exit(main())
