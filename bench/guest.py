"""What benches beside damo have in common: a part that runs in a guest, where damo is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.guest.errors import GuestError, Unavailable
from tests.guest.guest import Guest, environment
from tests.guest.run import kernel

ROOT = Path(__file__).parents[1]
DAMO = "damo==3.4.3"
RESULT = "result.json"


def measure(module: str, series: str) -> dict:
    """Boot a kernel, run a module with damo's directory and where to write JSON; return that."""
    with tempfile.TemporaryDirectory(prefix="damonpolicy-bench-") as directory:
        share = Path(directory)
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--target", str(share / "damo"), DAMO],
            check=True,
        )  # fmt: skip
        try:
            guest = Guest(
                kernel(series), memory_mib=1024, share=share, append="damon_stat.enabled=N",
                timeout=1800,
            )  # fmt: skip
            command = [sys.executable, "-m", module, "/mnt/damo", f"/mnt/{RESULT}"]
            done = guest.run(command, environment(PYTHONPATH=str(ROOT), HOME="/run"), cwd=ROOT)
        except (GuestError, Unavailable) as error:
            sys.exit(f"error: {error}")
        if done.returncode:
            sys.exit(f"the benchmark failed in the guest:\n{done.output}")
        return json.loads((share / RESULT).read_text("utf-8")) | {"release": done.release}
