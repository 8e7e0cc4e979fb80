"""Show that what poisons emulated kernels wrecks real ones, in a guest for each.

    python -m tests.guest.hazards [--name NAME] [--everywhere] [SERIES...]

prints one line for each hazard and kernel: what the kernel said when it died, or that a write
hangs, and whether that was expected. Without SERIES: all of kernels.py; ``--everywhere`` tries
also the kernels that should bear it.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import kernels
from .errors import GuestError, Unavailable
from .guest import Guest, environment
from .inside.hazard import HAZARDS, NOT_RUNNABLE, Hazard, expected
from .run import kernel

__all__ = ("main", "outcome")

_ROOT = Path(__file__).parents[2]
_MEMORY_MIB = 1024
_TIMEOUT = 120
_SAID = re.compile(r"BUG: .*|Oops: .*|kernel BUG at .*|list_(add|del) corruption.*|divide error.*")


def outcome(hazard: Hazard, series: str) -> str:
    """Return what a hazard does to a real kernel: ``dies``, ``hangs`` or ``unharmed``, and how."""
    guest = Guest(
        kernel(series), memory_mib=_MEMORY_MIB, timeout=_TIMEOUT, append="damon_stat.enabled=N"
    )
    command = [sys.executable, "-m", "tests.guest.inside.hazard", hazard.name]
    try:
        result = guest.run(command, environment(PYTHONPATH=str(_ROOT)), cwd=_ROOT)
    except GuestError as error:
        found = [match[0] for match in _SAID.finditer(error.console)]
        return f"dies: {'; '.join(dict.fromkeys(found)) or error.reason}"
    return result.output.strip() or f"ended with {result.returncode}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.hazards")
    parser.add_argument("--name", choices=[each.name for each in HAZARDS])
    parser.add_argument("--everywhere", action="store_true")
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(kernels.KNOWN))
    chosen = parser.parse_args(arguments)
    # else the guest would go on without us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed = False
    for hazard in [each for each in HAZARDS if chosen.name in (None, each.name)]:
        for series in chosen.series or kernels.KNOWN:
            reason = expected(hazard, series)
            if not reason and not chosen.everywhere:
                continue
            try:
                said = outcome(hazard, series)
            except Unavailable as error:
                said = f"not run: {error}"
            as_expected = said.startswith(("dies", "hangs") if reason else "unharmed")
            note = "" if as_expected else f" -- NOT EXPECTED: {reason or 'it should bear that'}"
            print(f"{hazard.name} on {series}: {said}{note}", flush=True)
            failed |= not as_expected
    for name, place in NOT_RUNNABLE.items():
        print(f"not run: {name}, as only the development tree has {place}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
