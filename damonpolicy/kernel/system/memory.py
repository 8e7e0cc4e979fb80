"""Physical memory: System RAM, and its nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from damonpolicy.base.errors import NoPermission
from damonpolicy.kernel.system.machine import Machine, entries, read_or

__all__ = ("PAGE", "Range", "node_ram", "system_ram", "united")

Range = tuple[int, int]
"""First byte and the byte after the last."""

_LINE = r"([0-9a-f]+)-([0-9a-f]+) : System RAM"
PAGE = 4096


def system_ram(machine: Machine) -> list[Range]:
    """Return all System RAM of /proc/iomem, in ascending order.

    Only the top level counts, as for DAMON itself
    (mm/damon/core.c: damon_set_region_system_rams_default()).
    """
    ranges = []
    for line in read_or(machine, "/proc/iomem").splitlines():
        found = re.match(_LINE, line)
        if found:
            ranges.append((int(found[1], 16), int(found[2], 16) + 1))
    if ranges and not any(end > 1 for _, end in ranges):
        message = "/proc/iomem shows no addresses"
        raise NoPermission(message, hint="run as root: the kernel hides them from others")
    return united(ranges)


def node_ram(machine: Machine, node: int) -> list[Range]:
    """Return the System RAM of one node, in ascending order.

    Memory blocks have a node; without memory hotplug there are none, and the zones' spans of
    /proc/zoneinfo replace them.
    """
    base = f"/sys/devices/system/node/node{node}"
    blocks = [name[6:] for name in entries(machine, base) if re.fullmatch(r"memory\d+", name)]
    size = read_or(machine, "/sys/devices/system/memory/block_size_bytes")
    if blocks and size:
        length = int(size, 16)
        spans = [(int(block) * length, (int(block) + 1) * length) for block in blocks]
    else:
        spans = _zones(machine, node)
    return united(
        (max(start, low), min(end, high))
        for start, end in system_ram(machine)
        for low, high in united(spans)
        if max(start, low) < min(end, high)
    )


def _zones(machine: Machine, node: int) -> list[Range]:
    spans, inside, spanned = [], False, 0
    for line in read_or(machine, "/proc/zoneinfo").splitlines():
        words = line.replace(",", "").split()
        if words[:1] == ["Node"]:
            inside, spanned = words[1] == str(node), 0
        elif inside and words[:1] == ["spanned"]:
            spanned = int(words[1])
        elif inside and words[:1] == ["start_pfn:"] and spanned:
            start = int(words[1])
            spans.append((start * PAGE, (start + spanned) * PAGE))
    return spans


def total(machine: Machine) -> int:
    """Return the bytes of memory, from a file that everybody may read; 0 if unknown."""
    found = re.search(r"^MemTotal: +([0-9]+) kB$", read_or(machine, "/proc/meminfo"), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def united(ranges: Iterable[Range], *, apart: bool = False) -> list[Range]:
    """Sort ranges and unite those that overlap, and those that touch unless kept ``apart``."""
    result: list[Range] = []
    for start, end in sorted(ranges):
        if result and (start < result[-1][1] or (start == result[-1][1] and not apart)):
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result
