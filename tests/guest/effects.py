"""Ask real kernels for every file of DAMON's tree: does a commit put a new value into effect?

    python -m tests.guest.effects [--jobs N] [--mips N] [--cell TEXT]... [SERIES...]

boots one guest for each, asks the probes of `inside/effects/`, and writes the answers to
`observed/effects/SERIES.toml`; with ``--cell`` only those of files whose pattern has the text.
``--mips`` gives the guest a clock that counts instructions (see guest.py), so that other work on
this machine changes no answer. It prints one line a kernel, and what was not ``yes``. Without
SERIES: all of kernels.py. `test_effects.py` compares the answers with the quirks and with the
emulated kernels. In a file an answer may be ``unobserved: REASON``, put there by hand where no run
gave a steady one.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import kernels, mounts
from .errors import GuestError, Unavailable, tail
from .guest import Guest, environment
from .run import kernel

__all__ = ("OBSERVED", "Answers", "load", "main")

OBSERVED = Path(__file__).with_name("observed") / "effects"

_ROOT = Path(__file__).parents[2]
_MEMORY_MIB = 2048
_TIMEOUT = 3600


@dataclass(slots=True)
class Answers:
    """What one kernel answered, by cell: a file's pattern, perhaps with a word or a note."""

    release: str
    cells: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    trouble: str = ""

    @property
    def line(self) -> str:
        """What came of this kernel, in one line, and one for each that is not ``yes``."""
        count = Counter(answer.partition(":")[0] for answer in self.cells.values())
        said = ", ".join(f"{number} {answer}" for answer, number in count.most_common())
        lines = [f"kernel {self.release}: {said} ({self.seconds:.0f} s)"]
        lines += [f"  {cell}: {each}" for cell, each in self.cells.items() if each != "yes"]
        return "\n".join([*lines, *([self.trouble] if self.trouble else [])])

    @property
    def ok(self) -> bool:
        """Whether all was asked and answered."""
        return bool(self.cells) and not self.trouble and not any(
            each.startswith("unclear") for each in self.cells.values()
        )  # fmt: skip


def load(series: str) -> Mapping[str, str]:
    """Return the answers that are kept of a kernel."""
    path = OBSERVED / f"{series}.toml"
    return tomllib.loads(path.read_text("utf-8"))["answers"] if path.exists() else {}


def _save(series: str, answers: Answers, cells: Sequence[str]) -> None:
    """Keep the answers; with ``cells`` those of others stay."""
    kept = {
        name: each
        for name, each in load(series).items()
        if cells and not any(cell in name for cell in cells)
    }
    lines = [
        f"# Written by `python -m tests.guest.effects {series}`.",
        f'release = "{answers.release}"', "", "[answers]",
        *(f"{json.dumps(name)} = {json.dumps(each)}" for name, each in sorted((kept | answers.cells).items())),
    ]  # fmt: skip
    OBSERVED.mkdir(exist_ok=True)
    (OBSERVED / f"{series}.toml").write_text("\n".join(lines) + "\n", "utf-8")


def _ask(series: str, cells: Sequence[str], mips: int) -> Answers:
    """Boot a kernel and ask it."""
    share = Path(tempfile.mkdtemp(prefix="damonpolicy-share-"))
    answers = Answers(series)
    try:
        guest = Guest(
            kernel(series), memory_mib=_MEMORY_MIB, numa=True, timeout=_TIMEOUT, share=share,
            append="damon_stat.enabled=N", mips=mips,
        )  # fmt: skip
        command = [sys.executable, "-m", "tests.guest.inside.effects", "/mnt/found"]
        try:
            result = guest.run([*command, *cells], environment(PYTHONPATH=str(_ROOT)), cwd=_ROOT)
        except GuestError as error:
            answers.trouble = f"{error.reason}\n{tail(error.output, 5)}\n{tail(error.console, 40)}"
        else:
            answers.release, answers.seconds = result.release, result.seconds
            if result.returncode:
                answers.trouble = tail(result.output, 20)
        found = share / "found"
        lines = found.read_text("utf-8").splitlines() if found.exists() else []
        answers.cells = {name: each for name, each, _ in map(json.loads, lines) if each}
    finally:
        mounts.remove_tree(share)
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.effects")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="guests at a time")
    parser.add_argument("--mips", type=int, default=0, metavar="N", help="0: as fast as it is")
    parser.add_argument("--cell", action="append", default=[], metavar="TEXT")
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(kernels.KNOWN))
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def one(series: str) -> bool:
        try:
            answers = _ask(series, chosen.cell, chosen.mips)
        except Unavailable as error:
            print(f"kernel {series}: {error}", flush=True)
            return False
        if answers.cells and not answers.trouble:
            _save(series, answers, chosen.cell)
        print(answers.line, flush=True)
        return answers.ok

    with ThreadPoolExecutor(chosen.jobs) as pool:
        done = list(pool.map(one, chosen.series or kernels.KNOWN))
    return int(not all(done))


if __name__ == "__main__":
    sys.exit(main())
