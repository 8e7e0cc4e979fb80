"""The marks of our guests, by which tests know that they are in one."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ("in_guest", "token")


def token() -> str:
    """Return the guest's token on the kernel's command line; empty elsewhere."""
    line = Path("/proc/cmdline").read_text(encoding="utf-8")
    found = re.search(r"(?:^| )damonpolicy\.guest=([0-9a-f]{16})(?: |$)", line.strip())
    return found[1] if found else ""


def in_guest() -> bool:
    """Return whether the live kernel is a guest's, which tests may change as they like."""
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    ours = token()
    return (
        bool(ours)
        and os.environ.get("DAMONPOLICY_GUEST") == ours
        and any(line.startswith("hostroot / virtiofs ") for line in mounts)
    )
