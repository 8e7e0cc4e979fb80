"""Whether a file's date shows the age of its content.

The kernel's own file systems make content at each read; their dates are at best those of the first
lookup.
"""

from __future__ import annotations

import os
import re

__all__ = ("dated",)

_MADE_AS_READ = re.compile(
    "bpf|cgroup2?|configfs|debugfs|devpts|efivarfs|fusectl|mqueue"
    "|proc|pstore|resctrl|securityfs|selinuxfs|sysfs|tracefs"
)
_MOUNTS = "/proc/self/mountinfo"


def dated(status: os.stat_result) -> bool:
    """Return whether the date of an open file is meaningful, by its file system."""
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as file:
            kinds = {kind for line in file if (kind := _kind(line, device))}
    except OSError:  # without /proc no such file can be read
        return True
    return not any(map(_MADE_AS_READ.fullmatch, kinds))


def _kind(line: str, device: str) -> str:
    """Return the type of a mounted file system if it has a device (proc_pid_mountinfo(5))."""
    before, _, after = line.partition(" - ")
    fields, kind = before.split(), after.split()
    return kind[0] if kind and len(fields) > 2 and fields[2] == device else ""
