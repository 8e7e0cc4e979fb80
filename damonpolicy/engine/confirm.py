"""The guard of an unconfirmed change: a separate process that survives logout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from damonpolicy.kernel.system.machine import Machine

__all__ = ("start_guard",)

_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from damonpolicy.engine.recover import main; main()"
)


def start_guard(machine: Machine, generation: int, deadline: float, options: Sequence[str]) -> None:
    """Start the guard, as a unit of systemd if possible, otherwise in a session of its own."""
    package = str(Path(__file__).resolve().parents[2])
    arguments = [  # Python alone, without site packages
        sys.executable, "-I", "-S", "-c", _BOOTSTRAP, package,
        "--kernel", machine.name, "--guard", str(generation), "--deadline", str(deadline), *options,
    ]  # fmt: skip
    if machine.here and os.path.isdir("/run/systemd/system"):
        runner = shutil.which("systemd-run")
        if runner is not None:
            unit = f"--unit=damonpolicy-confirm-{generation}"
            done = subprocess.run(
                [runner, "--quiet", "--collect", unit, *arguments],
                stdin=subprocess.DEVNULL, capture_output=True, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    os.posix_spawn(arguments[0], arguments, os.environ, file_actions=nowhere, setsid=True)
