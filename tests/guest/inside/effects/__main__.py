"""The guest's side of `tests.guest.effects`: run every probe, and write down its result.

    python -m tests.guest.inside.effects FILE [CELL...]

appends a line of JSON for each: the cell, the answer, and the seconds it took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from .all import probes
from .lab import ask
from .places import real

_TRIES = 3


def main(file: str, *cells: str) -> None:
    """Ask."""
    with real() as lab, Path(file).open("a", encoding="utf-8") as out:
        for probe in probes(lab.places):
            if cells and not any(each in probe.cell for each in cells):
                continue
            begin = time.monotonic()
            for _ in range(_TRIES):
                answer = ask(lab, probe)
                if answer in ("yes", ""):
                    break
            found = (probe.cell, answer, round(time.monotonic() - begin, 1))
            out.write(json.dumps(found) + "\n")
            out.flush()
            print(*found, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
