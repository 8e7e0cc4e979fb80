"""A process whose memory accesses are known: some of it hot, the rest touched once.

    with Workload.start(hot_mib=64, cold_mib=192) as load:
        ...  # load.pid, load.hot, load.cold

Emulation shapes it. QEMU looks at page tables only when its own TLB misses, and DAMON does
not flush a TLB: a page that stays in it looks idle however often it is touched. So the
process flushes on each pass. And where DAMON changes protections (7.3, page_fault), a
process that never pauses delays each change by a tick: so it pauses on each pass too.
Both can be switched off, for tests of just that.
"""

from __future__ import annotations

import array
import ctypes
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ("Range", "Workload")

Range = tuple[int, int]
"""First address and the one after the last."""

_PAGE = 4096
_HUGE = 2 << 20
_START_SECONDS = 120
_SCRATCH = 64 * _PAGE
"""More pages than the kernel flushes one by one (x86: tlb_single_page_flush_ceiling, 33)."""
_SELDOM = 8
"""Passes over hot memory for one over warm memory, at least: a slow guest keeps the order."""


@dataclass(frozen=True, slots=True)
class _Order:
    hot_mib: int
    cold_mib: int
    write: bool
    cgroup: str
    anon: bool
    node: int
    huge: bool
    mergeable: bool
    pause: float
    flush: bool
    warm_mib: int
    warm_every: float


class Workload:
    """A running workload; `stop` it, or use it as a context."""

    def __init__(
        self, process: subprocess.Popen[bytes], hot: Range, cold: Range, warm: Range
    ) -> None:
        self._process = process
        self.hot = hot
        self.cold = cold
        self.warm = warm

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @classmethod
    def start(
        cls,
        hot_mib: int,
        cold_mib: int = 0,
        *,
        write: bool = True,
        cgroup: Path | None = None,
        anon: bool = True,
        node: int | None = None,
        huge: bool = False,
        mergeable: bool = False,
        pause: float = 0.004,
        flush: bool = True,
        warm_mib: int = 0,
        warm_every: float = 0.0,
    ) -> Self:
        """Start it, and return when all of its memory has been touched.

        Hot and cold memory are mappings of their own, aligned to huge pages. ``write``
        says how the hot one is accessed. Between both lies the warm one, if any, that is
        touched each ``warm_every`` seconds, and once in eight passes at most. Not ``anon`` is shared memory, of a memfd.
        ``node`` is where pages are put first; later they are not bound to it. With
        ``mergeable`` all pages are equal and offered to KSM, else no two are.
        """
        order = _Order(
            hot_mib=hot_mib,
            cold_mib=cold_mib,
            write=write,
            cgroup=str(cgroup or ""),
            anon=anon,
            node=-1 if node is None else node,
            huge=huge,
            mergeable=mergeable,
            pause=pause,
            flush=flush,
            warm_mib=warm_mib,
            warm_every=warm_every,
        )
        # Without site and environment: it starts faster, and nothing else is in its memory.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, json.dumps(asdict(order))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        with process.stdout as said:
            ready, _, _ = select.select([said], [], [], _START_SECONDS)
            line = said.readline() if ready else b""
        if not line:
            process.kill()
            raise RuntimeError(f"the workload did not start, status {process.wait()}")
        places = json.loads(line)
        return cls(process, *(tuple(places[name]) for name in ("hot", "cold", "warm")))

    def pause(self) -> None:
        """Stop touching memory, without ending."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it; its memory is free when this returns."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


_PR_SET_PDEATHSIG = 1
_SET_MEMPOLICY = 238
_MPOL_DEFAULT, _MPOL_BIND = 0, 2
_MAP_NORESERVE, _MAP_FIXED = 0x4000, 0x10
_MADV_MERGEABLE = 12
_NONE, _READ, _READ_WRITE = 0, mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p


def _call(name: str, *words: object) -> int:
    result = getattr(_LIBC, name)(*words)
    if result in {-1, (1 << 64) - 1, None}:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def _size(number: int) -> ctypes.c_size_t:
    return ctypes.c_size_t(number)


def _map(address: int, length: int, protection: int, flags: int, file: int = -1) -> int:
    return _call("mmap", ctypes.c_void_p(address), _size(length), protection, flags, file, _size(0))


def _protect(address: int, length: int, protection: int) -> None:
    _call("mprotect", ctypes.c_void_p(address), _size(length), protection)


def _place(address: int, length: int, order: _Order) -> memoryview:
    """Make a mapping at an address that was reserved, and touch all of it."""
    if order.anon:
        _protect(address, length, _READ_WRITE)
    else:
        file = os.memfd_create("workload")
        os.ftruncate(file, length)
        _map(address, length, _READ_WRITE, mmap.MAP_SHARED | _MAP_FIXED, file)
    advice = mmap.MADV_HUGEPAGE if order.huge else mmap.MADV_NOHUGEPAGE
    _call("madvise", ctypes.c_void_p(address), _size(length), advice)
    if order.mergeable:
        _call("madvise", ctypes.c_void_p(address), _size(length), _MADV_MERGEABLE)
    view = memoryview((ctypes.c_char * length).from_address(address)).cast("B")
    count = length // _PAGE
    marks = (
        [0x5A5A5A5A] * count if order.mergeable else range(address >> 12, (address >> 12) + count)
    )
    view.cast("Q")[:: _PAGE // 8] = array.array("Q", marks)
    return view


def _reserve(lengths: list[int]) -> list[int]:
    """Return addresses for mappings that touch neither each other nor anything else."""
    whole = sum(lengths) + (len(lengths) + 2) * _HUGE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    start = _map(0, whole, _NONE, flags)
    address = (start + _HUGE - 1) // _HUGE * _HUGE
    found = []
    for length in lengths:
        address += _HUGE
        found.append(address)
        address += length
    return found


def _bind(node: int) -> None:
    mask = ctypes.c_ulong(1 << node if node >= 0 else 0)
    mode = _MPOL_BIND if node >= 0 else _MPOL_DEFAULT
    pointer = ctypes.byref(mask) if node >= 0 else None
    _call("syscall", _SET_MEMPOLICY, mode, pointer, ctypes.c_ulong(64 if node >= 0 else 0))


def _work(order: _Order) -> None:
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if order.cgroup:
        Path(order.cgroup, "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    lengths = [order.hot_mib << 20, order.warm_mib << 20, order.cold_mib << 20, _SCRATCH]
    hot_at, warm_at, cold_at, scratch_at = _reserve(lengths)
    plain = _Order(**{**asdict(order), "anon": True, "huge": False, "mergeable": False})
    scratch = _place(scratch_at, _SCRATCH, plain)
    if order.node >= 0:
        _bind(order.node)
    hot = _place(hot_at, lengths[0], order) if lengths[0] else memoryview(bytearray())
    warm = _place(warm_at, lengths[1], order) if lengths[1] else memoryview(bytearray())
    if lengths[2]:
        _place(cold_at, lengths[2], order)
    if order.node >= 0:
        _bind(-1)
    said = {
        "hot": (hot_at, hot_at + lengths[0]),
        "warm": (warm_at, warm_at + lengths[1]),
        "cold": (cold_at, cold_at + lengths[2]),
    }
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()

    pages, few = hot[::_PAGE], scratch[::_PAGE]
    ones, few_ones = bytes([1]) * len(pages), bytes([1]) * len(few)
    warm_pages, due, since = warm[::_PAGE], time.monotonic(), _SELDOM
    while True:
        since += 1
        if warm_pages and since >= _SELDOM and time.monotonic() >= due:
            warm_pages.tobytes()
            due, since = time.monotonic() + order.warm_every, 0
        if order.write:
            pages[:] = ones
        else:
            pages.tobytes()
        if order.flush:
            few[:] = few_ones
            _protect(scratch_at, _SCRATCH, _READ)
            _protect(scratch_at, _SCRATCH, _READ_WRITE)
        if order.pause or not lengths[0]:
            time.sleep(order.pause or 0.1)


if __name__ == "__main__":
    _work(_Order(**json.loads(sys.argv[1])))
