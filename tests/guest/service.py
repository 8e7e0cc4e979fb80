"""Try the service at length on real kernels, one guest for each trial.

    python -m tests.guest.service [--trial NAME] [SERIES...]

prints one line for each trial and kernel: how soon an edit is committed, how soon processes are
joined, what is left after SIGKILL. Without SERIES: those that kernels.py calls required. Short
forms of the same are among the tests in the guest (inside/test_service_*.py).
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
from .inside.trial import TRIALS
from .run import kernel

__all__ = ("main",)

_ROOT = Path(__file__).parents[2]
_MEMORY_MIB = 2048
_TIMEOUT = 1800


def _line(series: str, trial: str) -> tuple[str, bool]:
    """Boot a kernel for one trial; return what came of it, and whether it went well."""
    try:
        guest = Guest(
            kernel(series), memory_mib=_MEMORY_MIB, numa=True, timeout=_TIMEOUT,
            append="damon_stat.enabled=N",
        )  # fmt: skip
        command = [sys.executable, "-m", "tests.guest.inside.trial", trial]
        result = guest.run(command, environment(PYTHONPATH=str(_ROOT)), cwd=_ROOT)
    except GuestError as error:
        return f"kernel {series}: {trial}: {error.reason}\n{tail(error.console, 20)}", False
    except Unavailable as error:
        return f"kernel {series}: {error}", False
    return f"kernel {result.release}: {result.output.strip()}", not result.returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.service")
    parser.add_argument("--trial", choices=list(TRIALS))
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(kernels.KNOWN))
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed = False
    for series in chosen.series or kernels.REQUIRED:
        for trial in [each for each in TRIALS if chosen.trial in (None, each)]:
            line, good = _line(series, trial)
            print(line, flush=True)
            failed |= not good
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
