"""Asks damo what it would write, in a subprocess that cannot reach DAMON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.guest.fetch import get_peer

READS = Path(__file__).with_name("reads.py")
MASK = """\
set -eu
for place in /sys/kernel/mm/damon /sys/kernel/debug; do
    [ -d "$place" ] || continue
    mount -t tmpfs masked "$place"
    : > "$place/masked"
done
exec "$@"
"""
"""Mounted privately: `unshare` makes no mount of it shared with anyone else."""


class Damo:
    """A running reader; `with` ends it."""

    def __init__(self, home: Path | None = None) -> None:
        as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = [
            "unshare",
            *as_root,
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            MASK,
            "sh",
        ]
        self._process = subprocess.Popen(
            [*command, sys.executable, "-I", str(READS), str(home or get_peer())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, text: str, form: str, dump: str | None = None) -> dict[str, Any]:
        """Return the files that damo would write, or why it refuses."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"text": text, "form": form, "dump": dump}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "damo's reader has ended"
        return json.loads(line)
