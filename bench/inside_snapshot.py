"""The part of bench/snapshot.py that runs in the guest, as root, on its kernel."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.memory import system_ram
from tests.guest.inside.marker import in_guest

ROUNDS = 3
LEAST, MOST = 1_000, 1_500
LIMIT = 300
"""Seconds after which a command is ended; what it took until then is the least that it takes."""
BASE = Path("/sys/kernel/mm/damon/admin/kdamonds")
POLICY = """
version: 1
name: look
kdamonds:
  - name: ram
    ops: paddr
    targets: [{{regions: [{{start: {start}, end: {end}}}]}}]
    region_count: {{min: {least}, max: {most}}}
    schemes: [{{name: all, action: stat}}]
"""


def ours(*words: str) -> list[str]:
    return [sys.executable, "-m", "damonpolicy", *words]


def damo(*words: str) -> list[str]:
    return [sys.executable, f"{sys.argv[1]}/bin/damo", *words]


def run(command: list[str], limit: float = LIMIT) -> tuple[float, float, str]:
    """Run a whole process; return its processor seconds, its seconds, and what it said.

    That is nothing where it did not end within the limit.
    """
    out = Path("/run/out")
    began = time.monotonic()
    with out.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.environ["PYTHONPATH"] + ":" + sys.argv[1]},
        )  # fmt: skip
        ended: list[bool] = []
        timer = threading.Timer(limit, lambda: (ended.append(True), process.kill()))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    text = out.read_text("utf-8", "replace")
    if ended and process.returncode == -signal.SIGKILL:
        return usage.ru_utime + usage.ru_stime, wall, ""
    if process.returncode:
        sys.exit(f"{command}: {process.returncode}\n{text}")
    return usage.ru_utime + usage.ru_stime, wall, text


def measure(command: list[str], region: str) -> dict[str, float]:
    """Return medians; the first round only fills caches: damo probes the kernel, once.

    One that does not end is not run again.
    """
    found = []
    for _ in range(ROUNDS + 1):
        found.append(run(command))
        if not found[-1][2]:
            break
    counted = found[1:] if found[-1][2] else found[-1:]
    counts = [len(re.findall(region, text, re.MULTILINE)) for _, _, text in counted]
    return {
        "cpu": statistics.median(each[0] for each in counted),
        "wall": statistics.median(each[1] for each in counted),
        "regions": min(counts),
        "ended": bool(found[-1][2]),
    }


def main() -> None:
    """Measure, and write what was found."""
    assert in_guest(), "this writes to the live kernel"
    start, end = max(system_ram(LiveMachine()), key=lambda each: each[1] - each[0])[:2]
    policy = Path("/run/look.yaml")
    policy.write_text(POLICY.format(start=start, end=end, least=LEAST, most=MOST).lstrip(), "utf-8")
    found = {}
    run(ours("apply", str(policy)))
    time.sleep(2)  # some aggregations, in which its regions are split up
    found["damonpolicy"] = measure(ours("report", "snapshot"), r"^\s+0x[0-9a-f]+ ")
    run(ours("stop", "--all"))
    (BASE / "nr_kdamonds").write_text("0", encoding="ascii")
    run(damo("start", "--ops", "paddr", "--regions", f"{start}-{end}",
             "--monitoring_nr_regions_range", str(LEAST), str(MOST)))  # fmt: skip
    time.sleep(2)  # as long for the other
    found["damo"] = measure(damo("report", "access", "--dont_merge_regions"), r"^\s*\d+\s+addr ")
    run(damo("stop"))
    result = {"rounds": ROUNDS, "least": LEAST, "found": found}
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
