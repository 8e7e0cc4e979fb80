"""The emulated kernel answers as the real one does, operation by operation, file by file."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from damonpolicy.emulated.machine import EmulatedMachine, versions
from damonpolicy.kernel.sysfs import LiveMachine

from .answers import Player, compare
from .cgroups import ROOT
from .script import SCENES

STAT = "/sys/module/damon_stat/parameters/enabled"
SERIES = ".".join(platform.release().split(".")[:2])
GUEST = {
    "nodes": [{"memory": "1GiB", "cpus": "0"}, {"memory": "1GiB", "cpus": "1"}],
    "processes": [{"name": "init", "pid": 1, "areas": [{"size": "4MiB"}]}],
}


@pytest.fixture
def sleepers() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Processes for kdamonds to look at."""
    started = {name: subprocess.Popen(["/bin/sleep", "1000"]) for name in ("one", "two", "three")}
    try:
        yield started
    finally:
        for process in started.values():
            process.kill()
            process.wait()


@pytest.mark.skipif(SERIES not in versions(), reason=f"there is no emulated {SERIES}")
def test_the_emulated_kernel_answers_as_the_real_one(
    sleepers: dict[str, subprocess.Popen[bytes]],
) -> None:
    """Every difference is a defect of the emulated kernel, or of what we know of real ones."""
    pids = {name: process.pid for name, process in sleepers.items()}
    by_pid = {process.pid: process for process in sleepers.values()}
    emulated = EmulatedMachine.create(SERIES, spec=GUEST)
    if emulated.exists(STAT):
        emulated.write(STAT, "N")  # as on the command line of all our guests
    for name, pid in pids.items():
        emulated.start_process(name, pid=pid, areas=[{"size": "16MiB"}])

    def end(pid: int) -> None:
        by_pid[pid].kill()
        by_pid[pid].wait()

    (ROOT / "cgroup.subtree_control").write_text("+memory", encoding="ascii")

    mismatches = compare(
        Player(
            LiveMachine(), pids, end,
            lambda path: Path(f"{ROOT}{path}").mkdir(), lambda path: Path(f"{ROOT}{path}").rmdir(),
        ),
        Player(emulated, pids, emulated.exit_process, emulated.make_cgroup, emulated.remove_cgroup),
        SCENES,
    )  # fmt: skip

    assert not mismatches, "\n".join(mismatches)
