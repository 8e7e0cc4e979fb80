"""Play a file of records on the guest's kernel, and write the mismatches to another one.

    python -m tests.guest.inside.replay RECORDS FOUND PROGRESS

PROGRESS holds seed and index of the step that is about to be done: where the kernel died.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from .marker import in_guest
from .players import real
from .recorded import Mismatch, load, replay

__all__ = ("line_of", "main", "mismatches")

_PATIENCE = 60
"""Seconds without a step after which the kernel is taken to hang."""
_TAINT_WARN = 1 << 9


class _Watch:
    """Notes how far we are, and ends a kernel that hangs: its writer cannot be ended."""

    def __init__(self, progress: Path) -> None:
        self._file = os.open(progress, os.O_WRONLY | os.O_CREAT)
        self._beat = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def announce(self, seed: int, index: int) -> None:
        """Say which step comes next."""
        os.pwrite(self._file, f"{seed:12} {index:6}".encode(), 0)
        self._beat.set()

    def end(self) -> None:
        """There is nothing to watch any more."""
        self._over.set()
        self._beat.set()

    def _look(self) -> None:
        while self._beat.wait(_PATIENCE) and not self._over.is_set():
            self._beat.clear()
        if not self._over.is_set():
            for key in "wo":  # blocked tasks, to the console; then off
                Path("/proc/sysrq-trigger").write_text(key, encoding="ascii")


@contextmanager
def _warnings(found: list[str]) -> Iterator[None]:
    """Collect the kernel's warnings; an oops ends the guest by itself."""
    yield
    taint = int(Path("/proc/sys/kernel/tainted").read_text(encoding="ascii"))
    if taint & _TAINT_WARN:
        log = Path("/dev/kmsg")
        descriptor = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        try:
            while record := os.read(descriptor, 1 << 13):
                line = record.decode("utf-8", "replace").partition(";")[2].splitlines()[0]
                if re.search(r"WARNING|invalid", line):
                    found.append(line)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


def main(arguments: list[str]) -> None:
    """Run the command line; see the module's text."""
    assert in_guest(), "this writes the kernel it runs on"
    records, found, progress = map(Path, arguments)
    watch, warned = _Watch(progress), list[str]()
    with (
        records.open(encoding="utf-8") as lines,
        found.open("a", encoding="utf-8", buffering=1) as out,
        real() as (player, sleepers),
        _warnings(warned),
    ):
        for each in replay(player, sleepers, map(load, lines), watch.announce):
            out.write(line_of(each))
    watch.end()
    print("\n".join(warned))


def line_of(found: Mismatch) -> str:
    """Return a mismatch as `mismatches` reads it."""
    return json.dumps(asdict(found)) + "\n"


def mismatches(path: Path) -> list[Mismatch]:
    """Return what `main` has written."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return [Mismatch(**{**row, "states": tuple(row["states"])}) for row in rows]


if __name__ == "__main__":
    main(sys.argv[1:])
