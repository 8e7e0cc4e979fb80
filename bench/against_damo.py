"""Apply a policy and change one value of it, beside damo doing the same, in one guest.

    python -m bench.against_damo [SERIES]

installs damo from PyPI into a temporary directory and boots a real kernel (see tests/kernel:
root, x86-64, Debian). Everything runs in the guest: damo writes sysfs whatever it is asked.
Prints whole-process times as ratios, since a guest's seconds mean nothing elsewhere, and the
number of writes to DAMON's files, as strace counts them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kernel.errors import GuestError, Unavailable
from tests.kernel.guest import Guest, environment
from tests.kernel.run import kernel

ROOT = Path(__file__).parents[1]
DAMO = "damo==3.4.3"
RESULT = "result.json"


def measure(series: str, share: Path) -> dict:
    """Boot, measure, return what bench/inside.py wrote."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--target", str(share / "damo"), DAMO],
        check=True,
    )  # fmt: skip
    guest = Guest(
        kernel(series), memory_mib=1024, share=share, append="damon_stat.enabled=N", timeout=600
    )
    command = [sys.executable, "-m", "bench.inside", "/mnt/damo", f"/mnt/{RESULT}"]
    done = guest.run(command, environment(PYTHONPATH=str(ROOT), HOME="/run"), cwd=ROOT)
    if done.returncode:
        sys.exit(f"the benchmark failed in the guest:\n{done.output}")
    return json.loads((share / RESULT).read_text("utf-8")) | {"release": done.release}


def show(result: dict) -> None:
    """Print one line for each thing done: writes and time of both, and the ratio."""
    print(f"kernel {result['release']}, {DAMO}, {result['rounds']} rounds, medians (in the guest)")
    print(f"{'':24}{'damonpolicy':>22}{'damo':>22}{'damo / damonpolicy':>24}")
    for name, both in result["actions"].items():
        ours, theirs = both["damonpolicy"], both["damo"]
        writes = theirs["writes"] / ours["writes"]
        time = theirs["seconds"] / ours["seconds"]
        print(
            f"{name:24}{ours['writes']:>8} writes {ours['seconds']:>5.2f} s"
            f"{theirs['writes']:>8} writes {theirs['seconds']:>5.2f} s"
            f"{writes:>8.1f} writes {time:>5.2f} time"
        )


def main() -> int:
    """Run the command line; see the module's text."""
    series = sys.argv[1] if len(sys.argv) > 1 else "7.3"
    with tempfile.TemporaryDirectory(prefix="damonpolicy-bench-") as directory:
        try:
            show(measure(series, Path(directory)))
        except (GuestError, Unavailable) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
