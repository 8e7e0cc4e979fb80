"""Print DAMON's names in the BTF of the kernel that runs, as `observed/btf-*.txt` keeps them.

python -m tests.guest.boot SERIES -- python3 -m tests.guest.names
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from damonpolicy.kernel.damon.btf import damon_names

__all__ = ("listing",)

_STRUCTS = re.compile(rb"(?<=\0)(?:damon_sysfs|damos_sysfs|damos_va)_\w*(?=\0)")


def listing(data: bytes) -> str:
    """Return enumerators, then members of structs, one in each line."""
    names = sorted(damon_names(data, {found.decode() for found in _STRUCTS.findall(data)}))
    words = [name for name in names if "." not in name]
    return "\n".join([*words, "", *(name for name in names if "." in name)])


if __name__ == "__main__":
    print("# Names in the BTF of Linux", os.uname().release)
    print(listing(Path("/sys/kernel/btf/vmlinux").read_bytes()))
