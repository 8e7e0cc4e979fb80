"""What the service costs while nothing happens: CPU and memory of the whole process.

    python -m bench.idle [SECONDS]

keeps an emulated machine under shipped policies, with and without metrics, and fails where it
costs more than 0.2 % of one CPU or 60 MiB resident. The emulated kernel lives in the same process
as a directory of files, so both are a little more than on a real one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
KERNEL = "7.3"
POLICIES = ("ksm", "monitor", "proactive-reclaim")
PATIENCE = 60
MOST_CPU = 0.2
"""Percent of one CPU."""
MOST_MEMORY = 60
"""MiB resident."""


def used(pid: int) -> float:
    """Return the CPU seconds that a process has used, in user space and in the kernel.

    By what the scheduler counts for each thread, in nanoseconds: the ticks of a clock are as large
    as what is measured here. A thread that has ended is missing; the service has none that do.
    """
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text("ascii").split()[0]) for each in threads) / 1e9


def resident(pid: int) -> tuple[float, float]:
    """Return how many MiB are resident, and the most that ever were."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    values = {name: text.split()[0] for name, _, text in (line.partition(":") for line in lines)
              if name in ("VmRSS", "VmHWM")}  # fmt: skip
    return int(values["VmRSS"]) / 1024, int(values["VmHWM"]) / 1024


def measure(seconds: float, *options: str) -> tuple[float, float, float]:
    """Run a service; return percent of one CPU, and MiB resident, now and at most."""
    with tempfile.TemporaryDirectory(prefix="damonpolicy-idle-") as directory:
        policies, log = Path(directory, "policies"), Path(directory, "log")
        policies.mkdir()
        for name in POLICIES:
            text = (ROOT / "policies" / f"{name}.yaml").read_text("utf-8")
            (policies / f"{name}.yaml").write_text(text, encoding="utf-8")
        command = [
            sys.executable, "-m", "damonpolicy", "--kernel", f"emulated:{KERNEL}", "--state-dir",
            f"{directory}/state", "--log-format", "json", "run", str(policies), *options,
        ]  # fmt: skip
        with log.open("w") as stream:
            service = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)
        try:
            _await_reload(service, log)
            time.sleep(5)
            before, began = used(service.pid), time.monotonic()
            time.sleep(seconds)
            share = (used(service.pid) - before) / (time.monotonic() - began)
            now, most = resident(service.pid)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(PATIENCE)
    return share * 100, now, most


def _await_reload(service: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and service.poll() is None:
        lines = [line for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
        told = [each for each in map(json.loads, lines) if each["event"] == "reload"]
        if told:
            if told[0]["result"] != "applied":
                break
            return
        time.sleep(0.1)
    sys.exit(f"the service did not begin:\n{log.read_text('utf-8')}")


def main() -> int:
    """Run the command line; see the module's text."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    print(f"emulated kernel {KERNEL}, {', '.join(POLICIES)}, {seconds:g} s")
    over = False
    for title, options in (("service", ()), ("with metrics", ("--metrics", "127.0.0.1:0"))):
        share, now, most = measure(seconds, *options)
        print(f"{title:14}{share:6.3f} % of one CPU {now:6.1f} MiB resident, {most:.1f} at most")
        over |= share > MOST_CPU or now > MOST_MEMORY
    print(f"{'allowed':14}{MOST_CPU:6.3f} % of one CPU {MOST_MEMORY:6.1f} MiB resident")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
