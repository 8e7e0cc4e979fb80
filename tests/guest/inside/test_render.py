"""A policy as a shell script that runs on a real kernel, with the shell's own echo."""

from __future__ import annotations

import subprocess
from pathlib import Path

from damonpolicy.kernel.system.machine import KDAMONDS, LiveMachine

from .policy import run, shipped

RECLAIM = "proactive-reclaim"


def test_a_script_starts_what_apply_would_start(tmp_path: Path) -> None:
    """So that `apply` finds nothing to write, and takes the kdamond over as it runs."""
    script = tmp_path / "reclaim.sh"
    script.write_text(run("render", *shipped(RECLAIM)).out, encoding="ascii")
    subprocess.run(["sh", str(script)], check=True)
    machine = LiveMachine()
    assert machine.read(f"{KDAMONDS}/0/state").strip() == "on"
    pid = machine.read(f"{KDAMONDS}/0/pid")

    outcome = run("apply", *shipped(RECLAIM))

    assert outcome.code == 0, outcome.err
    assert "adopted without a write" in outcome.out
    assert machine.read(f"{KDAMONDS}/0/pid") == pid
    assert run("remove", RECLAIM).code == 0
