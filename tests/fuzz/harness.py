"""Run very many cases in a few processes, each with limits, and report which ones fail.

A case is a number: everything about it follows from that and the seed. If a case crashes its
process, the parent knows which one, as the number of the case is in shared memory.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Outcome, run_cli
from tests.world import in_memory_directory

SECONDS = 1.0
"""Seconds of CPU time: a case that takes longer, and is not refused, is reported."""

MEMORY = 200 << 20
"""Bytes that a case may take beyond what its process had."""

HANGS = 20.0

Case = Callable[[int, Path], "Outcome | None"]
"""Runs one case in a directory of its own."""


class Hangs(BaseException):
    """A case took too long to wait for its end."""


@dataclass
class Tally:
    """What came of the cases."""

    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, other: Tally) -> None:
        self.codes += other.codes
        self.wrong += other.wrong
        self.slowest = max(self.slowest, other.slowest)

    def __str__(self) -> str:
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.codes.items()))
        return f"{sum(self.codes.values())} cases; exit codes {codes}; slowest {self.slowest:.2f} s"


def cli(*words: str) -> Outcome:
    """Run a command; its exit code shows a defect."""
    return run_cli(*words)


def judged(case: Case, number: int, place: Path, tally: Tally) -> None:
    """Run one case, and say what is wrong with how it went."""
    began = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, HANGS)
    try:
        done = case(number, place)
    except Hangs:
        tally.wrong.append(f"{number}: hangs")
        return
    except Exception as error:  # noqa: BLE001  # whatever comes here is what is looked for
        tally.wrong.append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
        return
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    took = time.process_time() - began
    if done is None:
        return
    tally.codes[done.code] += 1
    tally.slowest = max(tally.slowest, took)
    if done.code == 70 or "Traceback" in done.err:
        tally.wrong.append(f"{number}: {done.err.strip()[-300:]}")
    elif took > SECONDS:
        tally.wrong.append(f"{number}: {took:.2f} s, exit {done.code}: {done.err[:150]}")


def _hangs(*_: object) -> None:
    raise Hangs


def _limit(memory: int) -> None:
    with open("/proc/self/statm", encoding="ascii") as status:
        now = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Let what hangs in this process end."""
    before = signal.signal(signal.SIGVTALRM, _hangs)
    try:
        yield
    finally:
        signal.signal(signal.SIGVTALRM, before)


def _work(case: Case, numbers: range, shared: mmap.mmap, out: int, memory: int) -> None:
    place = in_memory_directory()
    tally = Tally()
    try:
        with limited():
            for done, number in enumerate(numbers):
                shared[:8] = struct.pack("q", number)
                if not done:
                    judged(case, number, place, tally)  # what is imported once does not count
                    tally = Tally()
                    _limit(memory)
                judged(case, number, place, tally)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    text = "\n".join([f"{tally.slowest}", *(f"{k} {v}" for k, v in tally.codes.items()), "",
                      *(each.replace("\n", " ") for each in tally.wrong)])  # fmt: skip
    with open(out, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _parsed(text: str) -> Tally:
    head, _, wrong = text.partition("\n\n")
    slowest, *codes = head.split("\n")
    pairs = (each.split() for each in codes if each)
    return Tally(
        Counter({int(k): int(v) for k, v in pairs}), wrong.splitlines(), float(slowest or 0)
    )


def run(case: Case, numbers: range, *, jobs: int = 1, memory: int = MEMORY) -> Tally:
    """Run cases in child processes; report what crashes one, and go on after it in the next."""
    whole = Tally()
    waiting = [numbers[at : at + 500] for at in range(0, len(numbers), 500)]
    running: dict[int, tuple[range, mmap.mmap, str]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            part = waiting.pop(0)
            shared = mmap.mmap(-1, 8)
            descriptor, name = tempfile.mkstemp()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    _work(case, part, shared, descriptor, memory)
                    code = 0
                finally:
                    os._exit(code)
            os.close(descriptor)
            running[pid] = part, shared, name
        pid, status = os.wait()
        if pid not in running:
            continue
        part, shared, name = running.pop(pid)
        text = Path(name).read_text(encoding="utf-8")
        os.unlink(name)
        if status:
            (number,) = struct.unpack("q", shared[:8])
            whole.wrong.append(f"{number}: ends the process, status {status}")
            at = part.index(number)
            waiting = [each for each in (part[:at], part[at + 1 :]) if len(each)] + waiting
        else:
            whole.add(_parsed(text))
    return whole


def main(case: Case, name: str, count: int) -> None:
    """Be the command line of a fuzzer."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.fuzz.{name}")
    parser.add_argument("--count", type=int, default=count, help=f"cases (default: {count:,})")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--show", type=int, help="run this one here, and keep what it is made of")
    given = parser.parse_args()
    if given.show is not None:
        place = Path(tempfile.mkdtemp())
        done = case(given.show, place)
        print(place, done, sep="\n")
        return
    began = time.time()
    tally = run(case, range(given.first, given.first + given.count), jobs=given.jobs)
    print(f"{tally}; {time.time() - began:.0f} s")
    for each in tally.wrong[:50]:
        print(f"wrong: {each}")
    print(f"{len(tally.wrong)} wrong")
    sys.exit(bool(tally.wrong))
