"""Feed a goal and change a policy by the service, beside a shell loop around `damo tune`.

    python -m bench.against_damo_loop [SERIES]

In one guest (see against_damo.py) both are given the same numbers at the same pace, by a file that
is read once a second, and hand them to the same goal of a running kdamond. Prints the CPU time of
all their processes for each number, waiting for the next one included, and the writes to DAMON's
files. Beside them: an edit of a policy file until it is committed, and one `damo tune`.
"""

from __future__ import annotations

import sys

from bench.guest import DAMO, measure


def show(result: dict) -> None:
    """Print one line for each thing measured, and the ratios."""
    print(
        f"kernel {result['release']}, {DAMO}, {result['values']} numbers, {result['pace']} s apart"
    )
    print(f"{'':24}{'service':>22}{'damo tune':>22}{'damo / service':>20}")
    for name, both in result["measured"].items():
        ours, theirs = both["service"], both["damo"]
        print(f"{name:24}{ours:>22.3f}{theirs:>22.3f}{theirs / ours:>20.1f}")


if __name__ == "__main__":
    show(measure("bench.inside_loop", sys.argv[1] if len(sys.argv) > 1 else "7.3"))
