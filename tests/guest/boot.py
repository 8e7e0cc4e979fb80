"""Boot a kernel by hand and run a command in it.

    python -m tests.guest.boot [OPTION...] SERIES|DIR -- COMMAND...

ends with the command's status; 124: too slow, 125: the guest died, 69: nothing to boot.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import fetch
from .errors import GuestError, Unavailable
from .guest import Guest, environment

__all__ = ("main",)

_NOTHING_TO_BOOT = 69


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.boot")
    parser.add_argument("-n", "--numa", action="store_true", help="two NUMA nodes")
    parser.add_argument("-m", "--memory", type=int, default=1024, metavar="MIB")
    parser.add_argument("-k", "--module", action="append", default=[], help="load it first")
    parser.add_argument("-w", "--share", type=Path, metavar="DIR", help="/mnt in the guest")
    parser.add_argument("-t", "--timeout", type=float, default=300, metavar="SECONDS")
    parser.add_argument("-a", "--append", default="", help="more for the kernel's command line")
    parser.add_argument("kernel", metavar="SERIES|DIR")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    chosen = parser.parse_args(arguments)
    try:
        path = Path(chosen.kernel)
        if not path.is_dir():
            path = fetch.get_kernels([chosen.kernel])[chosen.kernel]
        guest = Guest(
            path,
            memory_mib=chosen.memory,
            numa=chosen.numa,
            modules=chosen.module,
            share=chosen.share,
            timeout=chosen.timeout,
            append=chosen.append,
        )
        result = guest.run(chosen.command, environment())
    except (GuestError, Unavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, GuestError) else _NOTHING_TO_BOOT
    sys.stdout.write(result.output)
    print(f"[{result.release}, {result.seconds:.1f} s]", file=sys.stderr)
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
