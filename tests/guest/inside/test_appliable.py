"""What is valid on a kernel can be applied there: random policies, on a real kernel.

`tests/property/by_chance.py` makes them, `appliable.py` tries tens of thousands on emulated kernels.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from damonpolicy.engine.state_directory import find
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.numa import nodes
from tests.property.appliable import Tally, judge
from tests.property.by_chance import Maker, Place

from .matrix import ME, OTHER, Loads

PARTS, POLICIES = 10, 25
"""So many parts of so many valid policies each."""
UNSAFE = frozenset(
    f"/proc/sys/vm/{name}"
    for name in (
        "lowmem_reserve_ratio", "max_map_count", "min_free_kbytes", "overcommit_memory",
        "watermark_scale_factor",
    )
)  # fmt: skip
"""With some of their values a small guest has no memory left."""


def place(machine: LiveMachine) -> Place:
    """Return what the guest has; times are short, as a kdamond ends once it wakes up."""
    mine = str(os.getpid())
    return Place(
        ({"pid": mine}, {"pid": "1"}),
        (ME, OTHER),
        tuple(map(str, nodes(machine))),
        (mine,),
        ("0",),
        UNSAFE,
        ("1us", "999us", "1ms", "5ms", "100ms", "0"),
        (1_000, 5_000, 7_000, 20_000),
    )


@pytest.mark.long
@pytest.mark.parametrize("part", [f"part{number}" for number in range(PARTS)])
def test_what_is_valid_is_applied(
    part: str, loads: Loads, able: Capabilities, tmp_path: Path
) -> None:
    """Each is taken back; on a failure, the policies are shown."""
    machine, tally, number = LiveMachine(), Tally(), 0
    here, places = place(machine), find(machine, tmp_path)
    while tally.counts.total() - tally.counts["invalid"] < POLICIES:
        number += 1
        text = json.dumps(Maker(f"live/{part}/{number}", here).policy())
        outcome = judge(machine, places, text, able)
        if outcome.startswith("FAILED"):
            tally.failures.append(f"{number}: {outcome}\n  {text}")
            outcome = "FAILED"
        tally.counts[outcome] += 1

    assert not tally.failures, f"{number} made: {tally}\n" + "\n".join(tally.failures)
    assert tally.counts["applied"] > POLICIES // 2, f"{number} made: {tally}"
