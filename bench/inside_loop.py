"""The part of bench/against_damo_loop.py that runs in the guest, as root, on its kernel."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.memory import system_ram
from tests.guest.inside.marker import in_guest
from tests.guest.inside.served import Writes

VALUES, PACE = 10, 8
EDITS = 5
LONG = 120
BASE = Path("/sys/kernel/mm/damon/admin/kdamonds/0")
SCHEME = BASE / "contexts/0/schemes/0"
CURRENT = SCHEME / "quotas/goals/0/current_value"
SOURCE, TRACE, LOG = Path("/run/score"), Path("/run/strace.log"), Path("/run/log")
TICKS = os.sysconf("SC_CLK_TCK")
PYTHONPATH = f"{os.environ['PYTHONPATH']}:{sys.argv[1]}"

POLICY = """
version: 1
name: reclaim
kdamonds:
  - name: system
    ops: paddr
    targets: [{{regions: [{{start: {start}, end: {end}}}]}}]
    schemes:
      - name: idle
        action: pageout
        access_pattern: {{size: {{min: 4KiB}}, access_rate: {{max: 0%}}, age: {{min: 2m}}}}
        quota:
          size: {most}B
          every: 1s
          weights: {{access_rate: 1, age: 1}}
          goals: [{{metric: user_input, target: 10000, from: {{file: /run/score}}}}]
        filters: [{{reject: young}}]
"""


def damo(command: str, span: tuple[int, int], most: int) -> list[str]:
    return [
        sys.executable, f"{sys.argv[1]}/bin/damo", command, "--ops", "paddr",
        "--regions", f"{span[0]}-{span[1]}", "--damos_action", "pageout",
        "--damos_access_rate", "0%", "0%", "--damos_age", "2m", "max",
        "--damos_sz_region", "4K", "max",
        "--damos_quotas", "0ms", f"{most}B", "1000ms", "0", "1", "1",
        "--damos_filter", "reject", "young",
    ]  # fmt: skip


def service(directory: Path) -> list[str]:
    return [sys.executable, "-m", "damonpolicy", "run", str(directory)]


def loop(span: tuple[int, int]) -> list[str]:
    return [
        "sh",
        str(Path(__file__).with_name("loop.sh")),
        str(SOURCE),
        *damo("tune", span, 128 << 20),
    ]


def put(directory: Path, span: tuple[int, int], most: int) -> None:
    temporary = directory / ".reclaim"
    temporary.write_text(POLICY.format(start=span[0], end=span[1], most=most), encoding="utf-8")
    temporary.replace(directory / "reclaim.yaml")


@contextmanager
def running(command: list[str], *, trace: bool = False) -> Iterator[int]:
    """Run something until it is no longer needed; yields its pid."""
    words = ["strace", "-f", "--seccomp-bpf", "-y", "-e", "trace=write,pwrite64", "-o", str(TRACE)]
    with LOG.open("w") as log:
        process = subprocess.Popen(
            [*words, *command] if trace else command, stdout=log, stderr=log, process_group=0,
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
        )  # fmt: skip
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(LONG)


def used(pid: int) -> float:
    """Return the CPU seconds of a process and of those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""


def until(path: Path, text: str) -> float:
    """Wait until a file says so; return when it did."""
    deadline = time.monotonic() + LONG
    while read(path) != text:
        if time.monotonic() > deadline:
            sys.exit(f"{path} is `{read(path)}`, not `{text}`\n{LOG.read_text('utf-8')}")
        time.sleep(0.01)
    return time.monotonic()


def feed(values: range) -> None:
    """Give numbers, one at a time, at a steady pace."""
    for value in values:
        due = time.monotonic() + PACE
        SOURCE.write_text(f"{value}\n", encoding="ascii")
        until(CURRENT, str(value))
        assert due > time.monotonic(), "the pace is too fast for one of them"
        time.sleep(due - time.monotonic())


def fed(command: list[str]) -> tuple[float, float]:
    """Return CPU seconds and writes to DAMON's files for each number."""
    SOURCE.write_text("1000\n", encoding="ascii")
    with running(command) as pid:
        until(CURRENT, "1000")
        time.sleep(PACE)
        before = used(pid)
        feed(range(2000, 2000 + VALUES))
        seconds = used(pid) - before
    SOURCE.write_text("3000\n", encoding="ascii")
    with running(command, trace=True):
        until(CURRENT, "3000")
        time.sleep(PACE)
        before = writes()
        feed(range(4000, 4003))
        count = writes() - before
    return seconds / VALUES, count / 3


def writes() -> int:
    text = TRACE.read_text("utf-8", "replace")
    return len(re.findall(r"write(?:64)?\(\d+</sys/kernel/mm/damon/", text))


def edited(directory: Path, span: tuple[int, int]) -> list[float]:
    """Return the seconds from renames to the ends of their commits."""
    found = []
    quota = SCHEME / "quotas/bytes"
    with running(service(directory)), Writes(BASE / "state") as writes:
        until(quota, str(128 << 20))
        for number in range(EDITS):
            time.sleep(2)
            writes.forget()
            began, most = time.monotonic(), (64 << 20) + (number << 12)
            put(directory, span, most)
            when = writes.next()
            while read(quota) != str(most):  # others only look
                when = writes.next()
            found.append(when - began)
    return found


def tuned(span: tuple[int, int]) -> list[float]:
    """Return the seconds of whole processes."""
    found = []
    for number in range(EDITS):
        command = damo("tune", span, (64 << 20) + (number << 12))
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "PYTHONPATH": PYTHONPATH})  # fmt: skip
        found.append(time.monotonic() - began)
    return found


def main() -> None:
    """Measure, and write what was found."""
    assert in_guest(), "this writes to the live kernel"
    span = max(system_ram(LiveMachine()), key=lambda each: each[1] - each[0])
    directory = Path("/run/policies")
    directory.mkdir()
    put(directory, span, 128 << 20)
    measured: dict[str, dict[str, float]] = {}

    def note(way: str, *values: float) -> None:
        names = ("CPU seconds, a number", "writes, a number", "seconds, a changed value")
        for name, value in zip(names, values, strict=True):
            measured.setdefault(name, {})[way] = value

    note("service", *fed(service(directory)), statistics.median(edited(directory, span)))
    subprocess.run([sys.executable, "-m", "damonpolicy", "stop", "--all"], check=True)
    (BASE.parent / "nr_kdamonds").write_text("0", encoding="ascii")
    start = [*damo("start", span, 128 << 20), "--damos_quota_goal", "user_input", "10000", "1"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "PYTHONPATH": PYTHONPATH})  # fmt: skip
    note("damo", *fed(loop(span)), statistics.median(tuned(span)))
    found = {"values": VALUES, "pace": PACE, "measured": measured}
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
