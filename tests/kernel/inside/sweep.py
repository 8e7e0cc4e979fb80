"""A process that touches all of its memory, page after page, again and again in the same time.

    python -I -S sweep.py MIB SECONDS [CGROUP]

What is taken from it comes back within a round: how much does is a steady answer to how much
was taken, which a feedback loop can be tried on.
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
_SLICES = 50
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
    slice_ = len(pages) // _SLICES
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    due = time.monotonic()
    while True:
        for at in range(0, len(pages), slice_):
            part = pages[at : at + slice_]
            part[:] = bytes([at & 0xFF]) * len(part)
            due += seconds / _SLICES
            time.sleep(max(due - time.monotonic(), 0))
        due = max(due, time.monotonic() - seconds / _SLICES)


if __name__ == "__main__":
    main()
