"""The service at length on a real kernel: long forms of the tests. See tests/guest/service.py.

python -m tests.guest.inside.trial [NAME...]
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from .editing import edited
from .following import Crowd, followed
from .killing import killed
from .served import serving

__all__ = ("TRIALS",)

_JOINED = 2.0
"""Seconds within which 99 of 100 processes are monitored."""


def edits(directory: Path) -> str:
    """Edit a policy twenty times."""
    with serving(directory) as service:
        found = edited(service, 20)
    assert statistics.median(found.lags) < found.bound, found
    return str(found)


def processes(directory: Path) -> str:
    """Let 200 processes start and end."""
    with serving(directory) as service:
        crowd = Crowd(directory, random.Random(4))
        try:
            followed(service, crowd, 200, pause=1.0)
        finally:
            crowd.end()
    waits = sorted(crowd.waits)
    last = waits[int(len(waits) * 0.99) - 1]
    said = (
        f"{len(waits)} joined, median {statistics.median(waits):.2f} s, 99 % within {last:.2f} s;"
        f" {crowd.lookups} lookups, {crowd.reused} pids went to strangers"
    )
    assert not crowd.wrong, (said, crowd.wrong[:5])
    assert not crowd.began, (said, crowd.began)
    assert last <= _JOINED, said
    return said


def kills(directory: Path) -> str:
    """Kill the service forty times."""
    done = killed(directory, 40, random.Random(40))
    assert 0 < done < 40, f"the moments miss: {done} edits were committed before the kill"
    return f"40 kills, before {40 - done} of them the edit had not been committed"


TRIALS = {each.__name__: each for each in (edits, processes, kills)}


def main() -> int:
    """Run the trials that are named, else all; one line for each."""
    failed = False
    for name in sys.argv[1:] or TRIALS:
        begin = time.monotonic()
        try:
            said = TRIALS[name](Path(tempfile.mkdtemp(prefix="trial-")))
        except AssertionError as error:
            said, failed = f"FAILED: {error}", True
        print(f"{name}: {said} ({time.monotonic() - begin:.0f} s)", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
