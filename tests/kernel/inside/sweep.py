"""A process that touches each page of its memory again and again, once in a round.

    python -I -S sweep.py MIB SECONDS [CGROUP]

It prints the first address of that memory and the one after the last. A round goes over the memory
in strides, so that neighbours are touched all over its time: what is taken comes back evenly within
a round. That is a steady answer to how much is taken, which a feedback loop can be tried on.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import time
from pathlib import Path

_PAGE = 4096
_STRIDES = 128
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Sweep until killed."""
    size, seconds = int(sys.argv[1]) << 20, float(sys.argv[2])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for group in sys.argv[3:]:
        Path(group, "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    pages = memoryview(memory)[::_PAGE]
    pages[:] = bytes(range(256)) * (len(pages) // 256)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    sys.stdout.write(f"{start} {start + size}\n")
    sys.stdout.flush()
    due = time.monotonic()
    while True:
        for at in range(_STRIDES):
            part = pages[at::_STRIDES]
            part[:] = bytes([at & 0xFF]) * len(part)
            due += seconds / _STRIDES
            time.sleep(max(due - time.monotonic(), 0))
        due = max(due, time.monotonic() - seconds / _STRIDES)


if __name__ == "__main__":
    main()
