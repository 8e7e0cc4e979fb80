"""The machine's hardware and identity: nodes, CPUs, memory, release, boot id, pressure."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import cached_property, partial
from typing import TypeAlias

from damonpolicy.base.units import format_cpulist
from damonpolicy.emulated.damon import btf
from damonpolicy.emulated.files import Content, Index, Link
from damonpolicy.emulated.world import World

__all__ = ("PRESSURE", "Hardware")

_BLOCK = 128 << 20
"""Bytes in a block of memory, as on PCs with up to 64 GiB."""

_NODES = "/sys/devices/system/node"
_CPUS = "/sys/devices/system/cpu"
_MEMORY = "/sys/devices/system/memory"
PRESSURE = "".join(
    f"{kind} avg10=0.00 avg60=0.00 avg300=0.00 total=0\n" for kind in ("some", "full")
)

_File: TypeAlias = tuple[str, Content | Link]


def _text(path: str, text: str) -> _File:
    return path, Content(0o444, lambda: text)


class Hardware:
    """Files derived from the description, and from the memory in use."""

    roots = (
        _NODES,
        _CPUS,
        _MEMORY,
        "/proc/iomem",
        "/proc/meminfo",
        "/proc/pressure",
        "/proc/sys/kernel/osrelease",
        "/proc/sys/kernel/random",
        "/sys/kernel/btf",
    )

    def __init__(self, world: World) -> None:
        self.world = world

    def file(self, path: str) -> Content | Link | None:
        return self._files.get(path)

    def names(self, path: str) -> dict[str, bool] | None:
        found = self._index.directories.get(path)
        if found is None:
            return None
        return {
            name: is_dir or isinstance(self._files[f"{path}/{name}"], Link)
            for name, is_dir in found.items()
        }

    @cached_property
    def _files(self) -> dict[str, Content | Link]:
        """All files, computed at the first read; most machines are never read."""
        return dict((*self._identity(), *self._memory(), *self._nodes()))

    @cached_property
    def _index(self) -> Index:
        return Index(self._files)

    def _identity(self) -> Iterator[_File]:
        profile = self.world.profile
        yield _text("/proc/sys/kernel/osrelease", f"{profile.release}\n")
        boot_id = Content(0o444, lambda: f"{self.world.state['boot_id']}\n")
        yield "/proc/sys/kernel/random/boot_id", boot_id
        yield "/proc/pressure/memory", Content(0o666, lambda: PRESSURE)
        yield "/sys/kernel/btf/vmlinux", Content(0o444, lambda: btf.of(profile))

    def _memory(self) -> Iterator[_File]:
        blocks: dict[int, int] = {}
        for start, end, node in self.world.ram:
            for block in range(start // _BLOCK, -(-end // _BLOCK)):
                blocks.setdefault(block, node)
        yield _text(f"{_MEMORY}/block_size_bytes", f"{_BLOCK:x}\n")
        for block, node in blocks.items():
            here = f"{_MEMORY}/memory{block}"
            yield _text(f"{here}/phys_index", f"{block:08x}\n")
            yield _text(f"{here}/state", "online\n")
            yield _text(f"{here}/online", "1\n")
            yield f"{here}/node{node}", Link(f"{_NODES}/node{node}")
            yield f"{_NODES}/node{node}/memory{block}", Link(here)
        yield "/proc/iomem", Content(0o444, self._iomem, None, errno.EIO)
        yield "/proc/meminfo", Content(0o444, self._meminfo)

    def _iomem(self) -> str:
        """List ranges as the kernel does, which shows no addresses to an ordinary user."""
        lines = [
            (0, 0xFFF, "Reserved"),
            (0x9FC00, 0xFFFFF, "Reserved"),
            *((start, end - 1, "System RAM") for start, end, _ in self.world.ram),
        ]
        first = next(start for start, _, _ in self.world.ram if start >= 0x100000)
        inner = (first + (16 << 20), first + (34 << 20), "  Kernel code")
        text = []
        for low, high, what in sorted([*lines, inner], key=lambda line: line[0]):
            indent = "  " if what.startswith("  ") else ""
            shown = (low, high) if self.world.spec.root else (0, 0)
            text.append(f"{indent}{shown[0]:08x}-{shown[1]:08x} : {what.strip()}\n")
        return "".join(text)

    def _meminfo(self) -> str:
        total = sum(node.memory for node in self.world.spec.nodes)
        free = total - sum(self.world.used(node) for node in range(len(self.world.spec.nodes)))
        return (
            f"MemTotal:{total // 1024:16} kB\nMemFree:{free // 1024:17} kB\n"
            f"MemAvailable:{free // 1024:12} kB\n"
            f"Active:{(total - free) // 2048:18} kB\nInactive:{(total - free) // 2048:16} kB\n"
            f"SwapTotal:{self.world.spec.swap // 1024:15} kB\n"
        )

    def _node_meminfo(self, node: int) -> str:
        total, used = self.world.spec.nodes[node].memory, self.world.used(node)
        return "".join(
            f"Node {node} {name}:{amount // 1024:16} kB\n"
            for name, amount in (("MemTotal", total), ("MemFree", total - used), ("MemUsed", used))
        )

    def _nodes(self) -> Iterator[_File]:
        nodes = self.world.spec.nodes
        every = range(len(nodes))
        cpus = [cpu for node in nodes for cpu in node.cpus]
        for name in ("online", "possible", "has_memory", "has_normal_memory"):
            yield _text(f"{_NODES}/{name}", f"{format_cpulist(every)}\n")
        with_cpus = (number for number in every if nodes[number].cpus)
        yield _text(f"{_NODES}/has_cpu", f"{format_cpulist(with_cpus)}\n")
        for name in ("online", "possible", "present"):
            yield _text(f"{_CPUS}/{name}", f"{format_cpulist(cpus or [0])}\n")
        yield _text(f"{_CPUS}/offline", "\n")
        for number, node in enumerate(nodes):
            here = f"{_NODES}/node{number}"
            distances = " ".join("10" if other == number else "20" for other in every)
            yield _text(f"{here}/cpulist", f"{format_cpulist(node.cpus)}\n")
            yield _text(f"{here}/distance", f"{distances}\n")
            yield f"{here}/meminfo", Content(0o444, partial(self._node_meminfo, number))
            for cpu in node.cpus:
                yield _text(f"{_CPUS}/cpu{cpu}/online", "1\n")
                yield f"{here}/cpu{cpu}", Link(f"{_CPUS}/cpu{cpu}")
