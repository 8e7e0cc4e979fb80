"""What wrecks a real kernel: `HAZARDS`, and the guest's side of showing each.

    python -m tests.guest.inside.hazard NAME

does the one thing, and says how it went. A kernel that oopses ends its guest, and says
nothing any more.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .answers import Player, Step
from .marker import in_guest
from .players import emulated, real
from .script.words import (
    CGROUP,
    PAGE,
    PLACE,
    A,
    G,
    I,
    Q,
    S,
    Steps,
    T,
    W,
    configured,
    started,
    write,
    writes,
)

__all__ = ("HAZARDS", "Hazard", "expected")

_LONG = 10
"""Seconds after which a write is taken to hang; the longest rightful one waits for 0.1."""
_AFTER = 3
"""Seconds in which everything that was begun ends: a quota's window lasts one."""


@dataclass(frozen=True, slots=True)
class Hazard:
    """Operations after which a kernel is wrecked, if it is one of those that can be."""

    name: str
    what: str
    steps: Steps


def _regions(*spans: tuple[int, int]) -> Steps:
    return (
        *write(f"{T}/0/regions/nr_regions", len(spans)),
        *(
            step
            for number, (start, end) in enumerate(spans)
            for step in writes(f"{T}/0/regions/{number}", start=start, end=end)
        ),
    )


_STAGED: Steps = (*write("nr_kdamonds", 1), *configured())
_LOST: Steps = (*started(), *write("0/contexts/nr_contexts", 0))
_INACTIVE = {"metric": "free_mem_rate", "high": 0, "mid": 0, "low": 0}
_GOAL: Steps = (
    *write(f"{G}/nr_goals", 1),
    *writes(f"{G}/0", target_metric="node_mem_used_bp", target_value=5000, nid=9),
)
_SHARED = ((PLACE + 1, PLACE + 100), (PLACE + 200, PLACE + 300))
_RESULTS = {
    "stats": "update_schemes_stats",
    "quotas": "update_schemes_effective_quotas",
    "intervals": "update_tuned_intervals",
    "bytes": "update_schemes_tried_bytes",
    "regions": "update_schemes_tried_regions",
    "clear": "clear_schemes_tried_regions",
}

HAZARDS = (
    Hazard(
        "commit-asleep",
        "`commit` while watermarks keep all schemes inactive",
        (*_STAGED, *writes(W, interval_us=50_000, **_INACTIVE), *write("0/state", "on", "commit")),
    ),
    *(
        Hazard(
            f"walk-awake-{name}",
            f"`{command}` while watermarks with an interval of 0 keep all schemes inactive",
            (*_STAGED, *writes(W, interval_us=0, **_INACTIVE), *write("0/state", "on", command)),
        )
        for name, command in _RESULTS.items()
        if name in ("bytes", "regions")
    ),
    Hazard(
        "walk-starved",
        "`update_schemes_tried_regions` while intervals are tuned more often than a scheme is applied",
        (
            *_STAGED,
            *writes(f"{I}/intervals_goal", aggrs=1, min_sample_us=5000, max_sample_us=5000),
            *write(f"{S}/apply_interval_us", 50_000),
            *write("0/state", "on", "update_schemes_tried_regions"),
        ),
    ),
    Hazard(
        "goal-cgroup",
        "`on` with a goal on what a cgroup has of a node that is not there",
        (
            Step("mkdir", CGROUP),
            *_STAGED,
            *write(f"{G}/nr_goals", 1),
            *writes(f"{G}/0", target_metric="node_memcg_used_bp", target_value=5000, nid=9),
            *write(f"{G}/0/path", CGROUP),
            *write("0/state", "on"),
        ),
    ),
    Hazard(
        "second-command",
        "a second command to a kdamond that is off",
        (*started(), *write("0/state", "off", "commit", "commit")),
    ),
    *(
        Hazard(
            f"lost-context-{name}",
            f"`{command}` for a running kdamond with `nr_contexts` 0",
            (*_LOST, *write("0/state", command)),
        )
        for name, command in _RESULTS.items()
    ),
    Hazard(
        "lost-context-refresh",
        "a running kdamond with `refresh_ms` and `nr_contexts` 0",
        (*started(), *write("0/refresh_ms", 20), *write("0/contexts/nr_contexts", 0)),
    ),
    Hazard(
        "goal-start",
        "`on` with a goal on a node that is not there",
        (*_STAGED, *_GOAL, *write("0/state", "on")),
    ),
    Hazard(
        "goal-commit",
        "`commit` of a goal on a node that is not there",
        (*started(), *_GOAL, *write(f"{Q}/reset_interval_ms", 20), *write("0/state", "commit")),
    ),
    Hazard(
        "goal-goals",
        "`commit_schemes_quota_goals` with a node that is not there",
        (
            *_STAGED,
            *write(f"{G}/nr_goals", 1),
            *writes(f"{G}/0", target_value=5000),
            *write(f"{Q}/reset_interval_ms", 20),
            *write("0/state", "on"),
            *writes(f"{G}/0", target_metric="node_mem_used_bp", nid=9),
            *write("0/state", "commit_schemes_quota_goals"),
        ),
    ),
    Hazard(
        "empty-regions",
        "two empty regions at one address",
        (*_STAGED, *_regions((PLACE, PLACE), (PLACE, PLACE)), *write("0/state", "on")),
    ),
    Hazard(
        "shared-page",
        "`commit` of other regions to a target whose regions share a page",
        (
            *_STAGED,
            *_regions(*_SHARED),
            *write("0/state", "on"),
            *_regions((PLACE, PLACE + 3 * PAGE)),
            *write("0/state", "commit"),
        ),
    ),
)
"""All that poisons the emulated kernel and can be tried: not what only the development tree has."""

NOT_RUNNABLE = {
    "sample filter on threads without a thread": f"{A}/sample/filters",
    "commit that changes the type of a sample filter": f"{A}/sample/filters",
}
"""What only the development tree can be wrecked by: no kernel of Debian's has these files."""


def expected(hazard: Hazard, series: str) -> str:
    """Return how the emulated kernel of a series is wrecked, or an empty text."""
    player = emulated(series)
    for step in hazard.steps:
        player.play(step)
        if not player.machine.poisoned:
            try:
                player.states()  # a kdamond that refreshes its files finds what it lost
            except OSError:
                break
    return player.machine.poisoned


def _play(player: Player, steps: Steps, progress: Path) -> None:
    with progress.open("w", encoding="utf-8", buffering=1) as said:
        for step in steps:
            said.write(f"{step}:")
            said.flush()
            said.write(f" {player.play(step)}\n")


def main(name: str) -> None:
    """Run the command line; see the module's text."""
    assert in_guest(), "this wrecks the kernel it runs on"
    steps = next(each.steps for each in HAZARDS if each.name == name)
    progress = Path("/tmp/progress")
    with real() as (player, _):
        writer = multiprocessing.Process(target=_play, args=(player, steps, progress))
        writer.start()
        writer.join(_LONG)
        time.sleep(_AFTER)
        last = progress.read_text(encoding="utf-8").splitlines()[-1]
        if writer.is_alive():
            status = Path(f"/proc/{writer.pid}/status").read_text(encoding="utf-8")
            state = next(line for line in status.splitlines() if line.startswith("State:"))
            print(f"hangs: {last} no answer within {_LONG} s, {state.replace(chr(9), ' ')}")
        else:
            print(f"unharmed: {last}; {', '.join(each.strip() for each in player.states())}")
        sys.stdout.flush()
    os._exit(0)  # a writer that hangs cannot be waited for


if __name__ == "__main__":
    main(sys.argv[1])
