"""A snapshot of 1,000 regions of a kdamond that runs, beside damo's, in one guest.

    python -m bench.snapshot [SERIES]

In one guest (see against_damo.py) the same monitoring is started by each, and looked at by each:
`damonpolicy report snapshot` asks the scheme that its policy has, `damo report access` adds one
and takes it back. Prints processor time and wall time of whole processes as ratios, since a
guest's seconds mean nothing elsewhere. What does not end within five minutes is ended: its numbers
are the least that it takes. Fails where ours costs more of either, or shows fewer regions.
"""

from __future__ import annotations

import sys

from bench.guest import DAMO, measure


def show(result: dict) -> int:
    """Print a line for each, and return what the process exits with."""
    print(f"kernel {result['release']}, {DAMO}, {result['rounds']} rounds, medians (in the guest)")
    print(f"{'':14}{'regions':>9}{'processor s':>13}{'/ damo':>8}{'wall s':>9}{'/ damo':>8}")
    theirs = result["found"]["damo"]
    ratios = {}
    for name, each in result["found"].items():
        cpu, wall = each["cpu"] / theirs["cpu"], each["wall"] / theirs["wall"]
        ratios[name] = max(cpu, wall)
        print(
            f"{name:14}{each['regions']:>9}{each['cpu']:>13.2f}{cpu:>8.2f}"
            f"{each['wall']:>9.2f}{wall:>8.2f}" + ("" if each["ended"] else "  did not end")
        )
    shown = [each["regions"] for each in result["found"].values() if each["ended"]]
    few = min(shown, default=0) < result["least"]
    return int(few or ratios["damonpolicy"] >= 1)


if __name__ == "__main__":
    sys.exit(show(measure("bench.inside_snapshot", sys.argv[1] if len(sys.argv) > 1 else "7.3")))
