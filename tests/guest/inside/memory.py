"""Where a process' pages are, and a swap device to send them to."""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = ("Pages", "merged", "no_balancing", "pages", "physical", "put", "slow_disk", "zram_swap")

_PAGE = 4096
_ZRAM = Path("/sys/block/zram0")
_DISKS = Path("/sys/kernel/config/nullb")


@dataclass(slots=True)
class Pages:
    """Bytes of a process' memory, by where they are."""

    resident: int = 0
    swapped: int = 0
    merged: int = 0
    """By KSM; contained in ``resident``."""
    huge: int = 0
    nodes: dict[int, int] = field(default_factory=dict)


def pages(pid: int, within: tuple[int, int] = (0, 1 << 64)) -> Pages:
    """Return where the pages of a process are, of the mappings that begin in a range."""
    found = Pages()
    counted = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        head = re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line)
        if head:
            counted = within[0] <= int(head[1], 16) < within[1]
        elif counted:
            _count(found, line)
    for line in Path(f"/proc/{pid}/numa_maps").read_text(encoding="utf-8").splitlines():
        if within[0] <= int(line.split()[0], 16) < within[1]:
            for node, count in re.findall(r" N(\d+)=(\d+)", line):
                found.nodes[int(node)] = found.nodes.get(int(node), 0) + int(count) * _PAGE
    return found


@contextmanager
def put(knob: Path, text: str) -> Iterator[None]:
    """Set a file of the kernel's for a while."""
    before = knob.read_text("ascii")
    knob.write_text(text, encoding="ascii")
    try:
        yield
    finally:
        knob.write_text(before, encoding="ascii")


def no_balancing() -> AbstractContextManager[None]:
    """Keep NUMA balancing from moving pages to the node of the process that touches them."""
    return put(Path("/proc/sys/kernel/numa_balancing"), "0")


def physical(pid: int, within: tuple[int, int]) -> tuple[int, int]:
    """Return between which addresses of the machine a range of a process' memory lies.

    Documentation/admin-guide/mm/pagemap.rst: 8 bytes a page, 55 bits of which are its number.
    """
    first, last = (each // _PAGE for each in within)
    with Path(f"/proc/{pid}/pagemap").open("rb") as file:
        file.seek(8 * first)
        entries = struct.unpack(f"={last - first}Q", file.read(8 * (last - first)))
    numbers = [each & (1 << 55) - 1 for each in entries if each >> 63]
    return min(numbers) * _PAGE, (max(numbers) + 1) * _PAGE


def _count(found: Pages, line: str) -> None:
    name, _, rest = line.partition(":")
    match name:
        case "Rss":
            found.resident += int(rest.split()[0]) << 10
        case "Swap":
            found.swapped += int(rest.split()[0]) << 10
        case "KSM":
            found.merged += int(rest.split()[0]) << 10
        case "AnonHugePages":
            found.huge += int(rest.split()[0]) << 10


def merged(pid: int) -> int:
    """Return how many pages of a process KSM has merged, as the kernel counts it itself."""
    text = Path(f"/proc/{pid}/ksm_stat").read_text(encoding="ascii")
    found = re.search(r"^ksm_merging_pages (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


@contextmanager
def zram_swap(mib: int) -> Iterator[Path]:
    """Swap to compressed memory; skips the test where the kernel came without modules."""
    if not _ZRAM.exists():
        pytest.skip("this kernel came without its zram module")
    device = Path("/dev/zram0")
    (_ZRAM / "disksize").write_text(str(mib << 20), encoding="ascii")
    try:
        device.write_bytes(_swap_header((mib << 20) // _PAGE))
        _call("swapon", os.fsencode(device), 0)
        try:
            yield device
        finally:
            _call("swapoff", os.fsencode(device))
    finally:
        (_ZRAM / "reset").write_text("1", encoding="ascii")


@contextmanager
def slow_disk(mib: int, nanoseconds: int) -> Iterator[Path]:
    """Make a disk that takes its time (null_blk); skips the test where there is no such module."""
    if not Path("/sys/module/null_blk").exists():
        pytest.skip("this kernel came without its null_blk module")
    if not _DISKS.exists():
        _mount("configfs", _DISKS.parent)
    disk = _DISKS / "slow"
    disk.mkdir()
    try:
        values = {"size": mib, "memory_backed": 1, "irqmode": 2, "completion_nsec": nanoseconds}
        for name, value in (*values.items(), ("power", 1)):
            (disk / name).write_text(str(value), encoding="ascii")
        # Each page comes back by itself, without its neighbours.
        Path("/sys/block/slow/queue/read_ahead_kb").write_text("0", encoding="ascii")
        yield Path("/dev/slow")
    finally:
        disk.rmdir()


def _mount(kind: str, where: Path) -> None:
    _call("mount", kind.encode(), os.fsencode(where), kind.encode(), 0, None)


def _swap_header(count: int) -> bytes:
    """Return the first page of a swap area (union swap_header, include/linux/swap.h)."""
    version, bad_pages = 1, 0
    start = bytes(1024) + struct.pack("<III", version, count - 1, bad_pages)
    return start.ljust(_PAGE - 10, b"\0") + b"SWAPSPACE2"


def _call(name: str, *arguments: bytes | int | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {arguments[0]!r}: {os.strerror(number)}")
