"""damonpolicy in the guest: its command line on the live kernel, and helpers for tests."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from damonpolicy.cli.main import main
from damonpolicy.kernel.damon.tree import is_volatile, slot_tree, snapshot
from damonpolicy.kernel.system.machine import LiveMachine

from . import patient

__all__ = (
    "KDAMONDS",
    "MIB",
    "Outcome",
    "has",
    "look",
    "run",
    "shipped",
    "state",
    "wait_for",
    "write",
)

KDAMONDS = Path("/sys/kernel/mm/damon/admin/kdamonds")
MIB = 1 << 20
_POLICIES = Path(__file__).parents[3] / "policies"
_SETTINGS = (
    "/sys/kernel/mm/ksm/run",
    "/sys/kernel/mm/ksm/pages_to_scan",
    "/sys/kernel/mm/ksm/sleep_millisecs",
    "/sys/module/damon_stat/parameters/enabled",
    "/proc/sys/kernel/numa_balancing",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The data of a JSON document."""
        return json.loads(self.out)["data"]


def run(*arguments: object) -> Outcome:
    """Run the command line on the live kernel."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(each) for each in arguments])
        except SystemExit as stop:
            code = stop.code
    return Outcome(int(str(code or 0)), out.getvalue(), err.getvalue())


def shipped(name: str, **variables: object) -> list[str]:
    """Return a shipped policy and its variables, as arguments."""
    options = [word for key, value in variables.items() for word in ("--set", f"{key}={value}")]
    return [str(_POLICIES / f"{name}.yaml"), *options]


def has(feature: str) -> bool:
    """Return whether this kernel has a feature."""
    found = run("features", feature, "--format", "json").data
    return bool(found["features"][feature]["known"] == "yes")


def state() -> Any:
    """Return the status, with numbers that are fresh."""
    return run("status", "--update", "--format", "json").data


def write(path: str, value: object) -> None:
    """Write a file of DAMON, as a shell would that has patience."""
    patient.write(KDAMONDS / path, value)


def look() -> dict[str, str]:
    """Return everything that a failed transaction has to leave as it was."""
    tree = snapshot(LiveMachine())
    found = {"nr_kdamonds": tree["nr_kdamonds"]}
    for slot in range(int(tree["nr_kdamonds"])):
        own = slot_tree(tree, slot)
        for path, value in own.items():
            if path == "state" or not is_volatile(path, own):
                found[f"{slot}/{path}"] = value
    for path in _SETTINGS:
        if Path(path).exists():
            found[path] = Path(path).read_text(encoding="ascii")
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> bool:
    """Ask until it holds, or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@contextlib.contextmanager
def someone_elses(slots: int = 8, *, on: bool = True) -> Iterator[int]:
    """Configure a kdamond by plain writes, as any script could; yields its pid."""
    write("nr_kdamonds", slots)
    write("0/contexts/nr_contexts", 1)
    write("0/contexts/0/operations", "paddr")
    write("0/contexts/0/monitoring_attrs/intervals/sample_us", 10_000)
    write("0/contexts/0/targets/nr_targets", 1)
    write("0/contexts/0/targets/0/regions/nr_regions", 1)
    write("0/contexts/0/targets/0/regions/0/start", 16 * MIB)
    write("0/contexts/0/targets/0/regions/0/end", 64 * MIB)
    write("0/contexts/0/schemes/nr_schemes", 1)
    if on:
        write("0/state", "on")
    try:
        yield int(patient.read(KDAMONDS / "0/pid"))
    finally:
        if on:
            write("0/state", "off")
        write("nr_kdamonds", 0)
