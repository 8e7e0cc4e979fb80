"""Apply a policy and change one value of it, beside damo doing the same, in one guest.

    python -m bench.against_damo [SERIES]

installs damo from PyPI into a temporary directory and boots a real kernel (see tests/guest:
root, x86-64, Debian). Everything runs in the guest: damo writes sysfs whatever it is asked.
Prints whole-process times as ratios, since a guest's seconds mean nothing elsewhere, and the
number of writes to DAMON's files, as strace counts them.
"""

from __future__ import annotations

import sys

from bench.guest import DAMO, measure


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


if __name__ == "__main__":
    show(measure("bench.inside", sys.argv[1] if len(sys.argv) > 1 else "7.3"))
