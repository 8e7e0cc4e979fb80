"""Let processes start and end many times a second beside the service, on real kernels.

    python -m tests.guest.churn [--rate N] [--seconds N] [--mips N] [SERIES...]

prints one line for each kernel: how many that live for 2 s or more were joined, how soon, and
whether anybody else was. They live 1.5 to 4 s. It fails where fewer than nine in ten were joined,
where the median is above 2 s, or where anything else went wrong. Without SERIES: the newest.

A guest without KVM is about ten times as slow as the machine it runs on, and so would be the
service: its clock counts instructions instead, so that the figures are those of a machine with one
CPU of `--mips` million instructions a second, whatever this one does beside it. That takes about 20
seconds for each of the guest's. `--mips 0` takes the time as it is. `--rate` says how many start in
a second, and the line how many did.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import kernels
from .errors import GuestError, Unavailable, tail
from .guest import Guest, environment
from .run import kernel

__all__ = ("main",)

_ROOT = Path(__file__).parents[2]
_MEMORY_MIB = 2048
_MARGIN, _SLOWEST = 1200, 30
"""Seconds for the boot, the service's start and the judgement; and how much longer the rest may
take on a machine that does something else."""


def _line(series: str, rate: float, seconds: float, mips: int) -> tuple[str, bool]:
    """Boot a kernel; return what came of it, and whether it went well."""
    try:
        guest = Guest(
            kernel(series), memory_mib=_MEMORY_MIB, numa=True, append="damon_stat.enabled=N",
            timeout=_SLOWEST * seconds + _MARGIN, mips=mips,
        )  # fmt: skip
        command = [sys.executable, "-m", "tests.guest.inside.churn", str(rate), str(seconds)]
        result = guest.run(command, environment(PYTHONPATH=str(_ROOT)), cwd=_ROOT)
    except GuestError as error:
        return f"kernel {series}: {error.reason}\n{tail(error.console, 20)}", False
    except Unavailable as error:
        return f"kernel {series}: {error}", False
    return f"kernel {result.release}: {result.output.strip()}", not result.returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.churn")
    parser.add_argument("--rate", type=float, default=100.0, help="starts in a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--mips", type=int, default=8000, metavar="N",
        help="millions of instructions in a second of the guest's clock; 0: as fast as it is",
    )  # fmt: skip
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(kernels.KNOWN))
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed = False
    for series in chosen.series or kernels.REQUIRED[-1:]:
        line, good = _line(series, chosen.rate, chosen.seconds, chosen.mips)
        print(line, flush=True)
        failed |= not good
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
