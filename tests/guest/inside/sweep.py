"""A process that touches each page of its memory once in a round.

    python -I -S sweep.py MIB SECONDS [--cgroup DIRECTORY] [--file PATH]

It prints the first address of that memory and the one after the last: of its own, which it writes,
or of a file or disk, which it only reads. A round goes over the memory in strides, so that
neighbours are touched all over its time: what is taken comes back evenly within a round. That is a
steady answer to how much is taken, which a feedback loop can be tried on.
"""

from __future__ import annotations

import argparse
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
    parser = argparse.ArgumentParser()
    parser.add_argument("size", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--cgroup")
    parser.add_argument("--file")
    chosen = parser.parse_args()
    size, seconds = chosen.size << 20, chosen.seconds
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if chosen.cgroup:
        Path(chosen.cgroup, "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    memory = _file(chosen.file, size) if chosen.file else _own(size)
    pages = memoryview(memory)[::_PAGE]
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    sys.stdout.write(f"{start} {start + size}\n")
    sys.stdout.flush()
    due = time.monotonic()
    while True:
        for at in range(_STRIDES):
            part = pages[at::_STRIDES]
            if chosen.file:
                bytes(part)
            else:
                part[:] = bytes([at & 0xFF]) * len(part)
            due += seconds / _STRIDES
            time.sleep(max(due - time.monotonic(), 0))
        due = max(due, time.monotonic() - seconds / _STRIDES)


def _own(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memoryview(memory)[::_PAGE] = bytes(range(256)) * (size // _PAGE // 256)
    return memory


def _file(path: str, size: int) -> mmap.mmap:
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE)
    bytes(memoryview(memory)[::_PAGE])
    return memory


if __name__ == "__main__":
    main()
