"""Compare real kernels with the emulated ones over sequences of random operations.

    python -m tests.guest.differential [--seeds FIRST-LAST] [SERIES...]

prints one line a kernel: sequences, operations, mismatches; then each mismatch with its seed
and the operations that led there. The same seed is the same sequence every time. Without
SERIES: all of kernels.py. A kernel that dies is booted again for the remaining sequences.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from . import kernels, mounts
from .errors import GuestError, Unavailable, tail
from .guest import Guest, environment
from .inside.recorded import explain, load, record
from .inside.replay import mismatches
from .run import kernel

__all__ = ("Comparison", "compare_series", "main")

SEEDS = range(2000)

_ROOT = Path(__file__).parents[2]
_MEMORY_MIB = 2048
_TIMEOUT = 3600
_MOST_BOOTS = 12


@dataclass(slots=True)
class Comparison:
    """What came of one kernel."""

    release: str
    sequences: int = 0
    operations: int = 0
    seconds: float = 0
    boots: int = 0
    found: list[str] = field(default_factory=list)
    """Each mismatch as text: what differed, and the operations that led there."""
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Whether all was compared and nothing differed."""
        return bool(self.sequences) and not self.found and not self.trouble

    @property
    def line(self) -> str:
        """The one line about this kernel."""
        trouble = f", {self.trouble}" if self.trouble else ""
        return (
            f"kernel {self.release}: {self.sequences} sequences, {self.operations} operations,"
            f" {len(self.found)} mismatches ({self.seconds:.0f} s){trouble}"
        )


def compare_series(series: str, seeds: Sequence[int]) -> Comparison:
    """Boot the newest kernel of a series, and play the sequences of these seeds in it."""
    directory = kernel(series)
    comparison = Comparison(directory.name)
    with ProcessPoolExecutor() as pool:
        lines = list(pool.map(partial(_line, series), seeds, chunksize=20))
    left = dict(zip(seeds, lines, strict=True))
    comparison.operations = sum(len(load(line).answers) for line in lines)
    started = time.monotonic()
    while left and comparison.boots < _MOST_BOOTS:
        _play(series, directory, left, comparison)
    comparison.seconds = time.monotonic() - started
    comparison.sequences = len(lines) - len(left)
    if left:
        comparison.trouble = f"given up with {len(left)} sequences left"
    return comparison


def _line(series: str, seed: int) -> str:
    return record(series, seed).line()


def _play(series: str, directory: Path, left: dict[int, str], comparison: Comparison) -> None:
    """Play what is left in one guest, and take away what was played."""
    comparison.boots += 1
    share = Path(tempfile.mkdtemp(prefix="damonpolicy-share-"))
    try:
        (share / "records").write_text("".join(f"{line}\n" for line in left.values()), "utf-8")
        died = ""
        try:
            said = _boot(directory, share)
        except GuestError as error:
            died, said = f"{error.reason}\n{tail(error.console, 40)}", ""
        found = mismatches(share / "found")
        comparison.found += ["\n".join(explain(series, each)) for each in found]
        if said:
            comparison.found.append(f"the kernel warned:\n{said}")
        last = _progress(share / "progress")
        played = list(left)
        if died and last:
            comparison.found.append(_death(series, *last, died))
            played = played[: played.index(last[0]) + 1]
        elif died:
            comparison.found.append(f"the guest died before it began: {died}")
        for seed in played:
            del left[seed]
    finally:
        mounts.remove_tree(share)


def _boot(directory: Path, share: Path) -> str:
    guest = Guest(
        directory, memory_mib=_MEMORY_MIB, numa=True, timeout=_TIMEOUT, share=share,
        append="damon_stat.enabled=N",
    )  # fmt: skip
    variables = environment(PYTHONPATH=str(_ROOT))
    files = [f"/mnt/{name}" for name in ("records", "found", "progress")]
    command = [sys.executable, "-m", "tests.guest.inside.replay", *files]
    result = guest.run(command, variables, cwd=_ROOT)
    if result.returncode:
        return f"{result.output}\nended with {result.returncode}"
    return result.output.strip()


def _progress(path: Path) -> tuple[int, int] | None:
    """Return seed and index of the last step that was announced."""
    found = path.read_text(encoding="ascii").split() if path.exists() else []
    return (int(found[0]), int(found[1])) if len(found) == 2 else None


def _death(series: str, seed: int, index: int, died: str) -> str:
    answers = record(series, seed).answers
    steps = [f"  {each.step}: {each.answer}" for each in answers[: index + 1]]
    return "\n".join([f"sequence {seed}, after {index} operations the kernel died:", *steps, died])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.differential")
    parser.add_argument("--seeds", default=f"{SEEDS[0]}-{SEEDS[-1]}", metavar="FIRST-LAST")
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(kernels.KNOWN))
    chosen = parser.parse_args(arguments)
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", chosen.seeds)
    if not found:
        parser.error("--seeds takes a number, or two as in 0-1999")
    seeds = range(int(found[1]), int(found[2] or found[1]) + 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed = False
    for series in chosen.series or kernels.KNOWN:
        try:
            comparison = compare_series(series, seeds)
        except Unavailable as error:
            print(f"kernel {series}: {error}", flush=True)
            failed = True
            continue
        print(comparison.line, *comparison.found, sep="\n", flush=True)
        failed |= not comparison.ok
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
