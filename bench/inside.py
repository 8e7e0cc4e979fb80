"""The part of the benchmark that runs in the guest, as root, on its kernel."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.memory import system_ram
from tests.guest.inside.marker import in_guest

ROUNDS = 5
POLICY = Path(__file__).with_name("reclaim.yaml")
BASE = Path("/sys/kernel/mm/damon/admin/kdamonds/0")
SAME = (
    "state",
    "contexts/0/operations",
    "contexts/0/targets/0/regions/0/start",
    "contexts/0/targets/0/regions/0/end",
    "contexts/0/schemes/0/action",
    "contexts/0/schemes/0/access_pattern/nr_accesses/max",
    "contexts/0/schemes/0/access_pattern/age/min",
    "contexts/0/schemes/0/quotas/bytes",
    "contexts/0/schemes/0/quotas/reset_interval_ms",
    "contexts/0/schemes/0/quotas/goals/0/target_metric",
    "contexts/0/schemes/0/quotas/goals/0/target_value",
)
"""What shows that both did the same."""


def ours(command: str, span: tuple[int, int], most: int) -> list[str]:
    return [
        sys.executable, "-m", "damonpolicy", command, str(POLICY),
        "--set", f"start={span[0]}", "--set", f"end={span[1]}", "--set", f"most={most}B",
    ]  # fmt: skip


def damo(command: str, span: tuple[int, int], most: int) -> list[str]:
    return [
        sys.executable, f"{sys.argv[1]}/bin/damo", command, "--ops", "paddr",
        "--regions", f"{span[0]}-{span[1]}", "--damos_action", "pageout",
        "--damos_access_rate", "0%", "0%", "--damos_age", "2m", "max",
        "--damos_sz_region", "4K", "max",
        "--damos_quotas", "0ms", f"{most}B", "1000ms", "0", "1", "1",
        "--damos_quota_goal", "some_mem_psi_us", "500", "--damos_filter", "reject", "young",
    ]  # fmt: skip


def run(command: list[str], *, trace: bool = False) -> tuple[float, int]:
    """Run a whole process; return its seconds and, traced, its writes to DAMON's files."""
    log = Path("/run/strace.log")
    words = ["strace", "-f", "--seccomp-bpf", "-y", "-e", "trace=write,pwrite64", "-o", str(log)]
    began = time.monotonic()
    done = subprocess.run(
        [*words, *command] if trace else command,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.environ["PYTHONPATH"] + ":" + sys.argv[1]},
    )  # fmt: skip
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    text = log.read_text("utf-8", "replace") if trace else ""
    return seconds, len(re.findall(r"write(?:64)?\(\d+</sys/kernel/mm/damon/", text))


def state() -> dict[str, str]:
    return {path: (BASE / path).read_text("ascii").strip() for path in SAME}


def main() -> None:
    """Measure, and write what was found."""
    assert in_guest(), "this writes to the live kernel"
    span = max(system_ram(LiveMachine()), key=lambda each: each[1] - each[0])
    span = (span[0], span[1])
    ways = {
        "damonpolicy": (ours("apply", span, 128 << 20), ours("apply", span, 64 << 20)),
        "damo": (damo("start", span, 128 << 20), damo("tune", span, 64 << 20)),
    }
    ends = {
        "damonpolicy": [sys.executable, "-m", "damonpolicy", "stop", "--all"],
        "damo": [sys.executable, f"{sys.argv[1]}/bin/damo", "stop"],
    }
    names = ("from nothing", "one changed value")
    found: dict = {name: {} for name in names}
    reached: dict = {}
    for way, commands in ways.items():
        seconds: dict[str, list[float]] = {name: [] for name in names}
        writes = {}
        for number in range(ROUNDS + 2):
            for name, command in zip(names, commands, strict=True):
                # The first round only fills caches: damo probes the kernel by writing, once.
                took, count = run(command, trace=number == 1)
                if number == 1:
                    writes[name] = count
                elif number > 1:
                    seconds[name].append(took)
                reached.setdefault(name, {})[way] = state()
            run(ends[way])
            (BASE.parent / "nr_kdamonds").write_text("0", encoding="ascii")
        for name in names:
            took = statistics.median(seconds[name])
            found[name][way] = {"writes": writes[name], "seconds": took}
    for name, both in reached.items():
        assert both["damonpolicy"] == both["damo"], (name, both)
    Path(sys.argv[2]).write_text(json.dumps({"rounds": ROUNDS, "actions": found}), encoding="utf-8")


if __name__ == "__main__":
    main()
