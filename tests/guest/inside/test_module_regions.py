"""What DAMON's modules see, from trace events: without a policy, and without a write to DAMON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from damonpolicy.kernel.damon.modules import parameter_path
from damonpolicy.kernel.system.machine import LiveMachine

from .looking import Undisturbed
from .memory import put
from .policy import MIB

STAT = "damon_stat"
AWAKE = {
    "wmarks_interval": 1_000_000, "wmarks_high": 1000, "wmarks_mid": 999, "wmarks_low": 0,
    "min_age": 3_600_000_000, "monitor_region_start": 0, "monitor_region_end": 0,
}  # fmt: skip
"""It monitors, and nothing is old enough to be reclaimed; the region that it finds is put back."""


@pytest.fixture(params=[STAT, "damon_reclaim"])
def module(request: pytest.FixtureRequest) -> Iterator[str]:
    """A module that runs, alone."""
    name = str(request.param)
    if not LiveMachine().exists(parameter_path(name, "enabled")):
        pytest.skip(f"this kernel has no {name}")
    with ExitStack() as stack:
        if name != STAT:
            for parameter, value in AWAKE.items():
                stack.enter_context(put(Path(parameter_path(name, parameter)), str(value)))
        stack.enter_context(put(Path(parameter_path(name, "enabled")), "Y"))
        yield name


def test_regions_of_a_module_are_seen(module: str) -> None:
    """A stock kernel has a heatmap without any set-up."""
    still = Undisturbed()
    (view,) = still.report("report", "snapshot")["snapshots"]
    (found,) = still.report("report", "wss", "--kdamond", module)["working_sets"]
    (rank,) = still.report("report", "rank")["ranks"]
    maps = still.report("report", "heatmap")["maps"]

    # at least the largest piece of memory; what the kernel leaves out is DAMON's matter
    assert view["total_bytes"] == sum(row["size_bytes"] for row in view["regions"]) > 512 * MIB
    assert 0 <= found["mean_bytes"] <= view["total_bytes"]
    assert view["kdamond"] == found["kdamond"] == rank["kdamond"] == module
    assert sum(each["addresses"]["end"] - each["addresses"]["start"] for each in maps) > 512 * MIB


def test_a_module_is_recorded(module: str, tmp_path: Path) -> None:
    path = tmp_path / "seen.parquet"
    still = Undisturbed()
    assert still.report("record", "-o", path, "--count", 3)["snapshots"] == 3
    (found,) = still.report("report", "wss", path)["working_sets"]

    assert (found["kdamond"], found["snapshots"]) == (module, 3)
