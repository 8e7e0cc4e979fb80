"""The state of an emulated machine as plain data, shared by all its parts.

The state is one dictionary of JSON data; a machine in memory keeps it as it is, a durable one
writes it to disk. Everything derived only from the description is computed once and kept beside it.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeAlias

from damonpolicy.emulated.damon.table import Layout, layout
from damonpolicy.emulated.profiles import Profile
from damonpolicy.emulated.spec import Process, Spec
from damonpolicy.emulated.values import Refusal

__all__ = ("Ram", "State", "World", "boot", "fits")

State: TypeAlias = dict[str, Any]
Ram: TypeAlias = tuple[int, int, int]
"""First byte, the byte after the last, and the node."""

_GAP = 4 << 30
_HOLE = 3 << 30, 4 << 30
"""Addresses of devices on PCs: a first node with more memory continues above."""

_RESERVED = 64 << 20
_HUGE = 2 << 20
_KERNEL_THREADS = {2: "kthreadd", 38: "ksmd", 39: "khugepaged"}
_FIRST_PID = 1201
_ROOT_CGROUP = 1


_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("boots", "pid", "cgroup"), (int,)),
    **dict.fromkeys(("booted", "clock", "lead"), (float, int)),
    **dict.fromkeys(("boot_id", "poison", "name"), (str,)),
    **dict.fromkeys(("processes", "cgroups", "settings", "modules", "tree", "slots"), (dict,)),
    "identity": (dict,),
    "log": (dict, type(None)),
}
"""The top-level keys of a stored state."""


def fits(state: Any) -> bool:
    """Return whether data can be a state; only the top level is checked."""
    return type(state) is dict and all(
        type(state.get(key)) in kinds for key, kinds in _KINDS.items()
    )


def boot(profile: Profile, spec: Spec, now: float, name: str, boots: int = 1) -> State:
    """Return the state of a machine after boot.

    ``name`` and the number of ``boots`` determine the boot id. Kernel threads come first, then
    the processes of the description, then (from 6.17 on, as Debian configures it) DAMON_STAT.
    """
    digest = hashlib.sha256(f"{name}/{boots}".encode()).hexdigest()
    state: State = {
        "boots": boots,
        "boot_id": "-".join(
            (digest[:8], digest[8:12], "4" + digest[13:16], "8" + digest[17:20], digest[20:32])
        ),
        "booted": now,
        "clock": now,
        "lead": 0.0,
        "pid": _FIRST_PID,
        "poison": "",
        "processes": {},
        "cgroups": {"/": {"id": _ROOT_CGROUP, "memory": True}},
        "cgroup": _ROOT_CGROUP,
        "settings": {},
        "modules": {},
        "tree": layout(profile).fresh(""),
        "slots": {},
    }
    world = World(profile, spec, state, lambda: now)
    for pid, thread in _KERNEL_THREADS.items():
        world.start_thread(thread, pid)
    for node in range(len(spec.nodes)):
        world.start_thread(f"kswapd{node}", 60 + node)
    for path, memory in spec.cgroups.items():
        world.make_cgroup(path, memory=memory)
    for process in spec.processes:
        world.start_process(process)
    return state


class World:
    """The state with its profile and description, which all parts of a machine share."""

    def __init__(
        self, profile: Profile, spec: Spec, state: State, clock: Callable[[], float]
    ) -> None:
        self.profile = profile
        self.spec = spec
        self.state = state
        self.clock = clock
        self.layout: Layout = layout(profile)

    @cached_property
    def ram(self) -> list[Ram]:
        """System RAM, in ascending order: each node begins at the next multiple of 4 GiB.

        The first one has the holes of PCs: below 1 MiB, and from 3 to 4 GiB.
        """
        ranges, start = [], 0
        for number, node in enumerate(self.spec.nodes):
            end = start + node.memory
            if number:
                ranges.append((start, end, number))
            else:
                ranges += [(0x1000, 0x9FC00, 0), (0x100000, min(end, _HOLE[0]), 0)]
                if end > _HOLE[0]:
                    end += _HOLE[1] - _HOLE[0]
                    ranges.append((_HOLE[1], end, 0))
            start = -(-end // _GAP) * _GAP
        return ranges

    @property
    def cpus(self) -> tuple[int, ...]:
        """All CPUs; a machine with only memory still has one."""
        return tuple(cpu for node in self.spec.nodes for cpu in node.cpus) or (0,)

    @property
    def processes(self) -> dict[str, dict[str, Any]]:
        """Processes and kernel threads by pid."""
        found: dict[str, dict[str, Any]] = self.state["processes"]
        return found

    def now(self) -> float:
        """Return the kernel's time in seconds: the clock plus the waits of commands."""
        lead: float = self.state["lead"]
        return self.clock() + lead

    def spend(self, seconds: float) -> None:
        """Advance the kernel's time while a command waits, without a real wait."""
        self.state["lead"] += min(seconds, 3600.0)

    def poison(self, reason: str) -> None:
        """Wreck the machine: all further operations fail."""
        self.state["poison"] = self.state["poison"] or reason

    def new_pid(self) -> int:
        """Return an unused pid."""
        pid: int = self.state["pid"]
        while str(pid) in self.processes:
            pid += 1
        self.state["pid"] = pid + 1
        return pid

    def start_thread(self, name: str, pid: int = 0) -> int:
        """Start a kernel thread."""
        return self._add(pid or self.new_pid(), Process(name), thread=True, areas=[])

    def _add(self, pid: int, process: Process, **more: Any) -> int:
        self.processes[str(pid)] = {
            "name": process.name, "start": self._ticks(), "exe": process.exe,
            "cmdline": process.cmdline, "uid": process.uid, "cgroup": process.cgroup,
            "self": process.is_self, "inner": process.inner_pid, **more,
        }  # fmt: skip
        return pid

    def start_process(self, process: Process) -> int:
        """Start a process, in a cgroup that is made if missing.

        Raises Refusal with ENOMEM if its memory does not fit, with EEXIST for a pid in use.
        """
        pid = process.pid or self.new_pid()
        if str(pid) in self.processes:
            raise Refusal(errno.EEXIST, f"there is a process {pid} already")
        areas: list[dict[str, Any]] = []
        address = 0x7F00_0000_0000
        for area in process.areas:
            start = area.start or address
            physical = self._place(area.size, area.node, areas)
            areas.append(
                {
                    "start": start, "size": area.size, "at": physical, "rate": area.rate,
                    "written": area.written, "anon": area.anon, "huge": area.huge,
                    "age": None if area.age == float("inf") else area.age,
                    "pid": process.inner_pid or pid, "cpus": list(process.cpus or self.cpus),
                    "phases": list(area.phases), "born": self.now(),
                }
            )  # fmt: skip
            address = -(-(start + area.size) // (1 << 30)) * (1 << 30)
        if process.cgroup not in self.state["cgroups"]:
            self.make_cgroup(process.cgroup)
        return self._add(pid, process, thread=False, areas=areas)

    def _ticks(self) -> int:
        """Return a unique start time for now."""
        last = max((each["start"] for each in self.processes.values()), default=0)
        return max(int((self.clock() - self.state["booted"]) * 100), last + 1)

    def _place(self, size: int, node: int, mine: list[dict[str, Any]]) -> int:
        """Find space for an area: the first hole on its node that is large enough."""
        taken = sorted(
            (area["at"], area["at"] + area["size"])
            for area in [*mine, *(a for p in self.processes.values() for a in p["areas"])]
        )
        for start, end, owner in self.ram:
            if owner != node or end - start <= _RESERVED:
                continue
            here = start + _RESERVED
            for low, high in taken:
                if high <= here or low >= end:
                    continue
                if low - here >= size:
                    break
                here = max(here, -(-high // _HUGE) * _HUGE)
            if end - here >= size:
                return here
        raise Refusal(errno.ENOMEM, f"node {node} has no room for {size} bytes")

    def alive(self, pid: int, start: int) -> bool:
        """Return whether the process with ``pid`` and ``start`` still runs."""
        found = self.processes.get(str(pid))
        return found is not None and found["start"] == start

    def make_cgroup(self, path: str, *, memory: bool = True) -> None:
        """Make a cgroup and its parents; each gets a new id."""
        parts = path.strip("/").split("/")
        for index in range(1, len(parts) + 1):
            here = "/" + "/".join(parts[:index])
            if here not in self.state["cgroups"]:
                self.state["cgroup"] += 1
                self.state["cgroups"][here] = {"id": self.state["cgroup"], "memory": True}
        self.state["cgroups"]["/" + "/".join(parts)]["memory"] = memory

    def remove_cgroup(self, path: str) -> None:
        """Remove a cgroup; raises Refusal with ENOENT, or with EBUSY while it is populated."""
        path = "/" + path.strip("/")
        if path not in self.state["cgroups"]:
            raise Refusal(errno.ENOENT)
        below = any(each.startswith(path + "/") for each in self.state["cgroups"])
        if below or any(each["cgroup"] == path for each in self.processes.values()):
            raise Refusal(errno.EBUSY)
        del self.state["cgroups"][path]

    def memory_cgroup(self, path: str) -> int:
        """Return the id of a cgroup with the memory controller; 0 if there is none.

        The path has to match exactly; one newline may follow (mm/damon/sysfs-schemes.c:
        damon_sysfs_memcg_path_to_id()).
        """
        found = self.state["cgroups"].get(path.removesuffix("\n"))
        return int(found["id"]) if found and found["memory"] else 0

    def used(self, node: int) -> int:
        """Return the bytes of a node in use by processes and the kernel."""
        held: int = sum(
            area["size"]
            for process in self.processes.values()
            for area in process["areas"]
            if self.node_of(area["at"]) == node
        )
        return min(held + _RESERVED, self.spec.nodes[node].memory)

    def node_of(self, physical: int) -> int:
        """Return the node of a physical address, -1 for a hole."""
        found: int = next((n for start, end, n in self.ram if start <= physical < end), -1)
        return found

    def free_permil(self) -> int:
        """Return the share of free memory, as the watermarks' metric free_mem_rate measures it."""
        total = sum(node.memory for node in self.spec.nodes)
        free = total - sum(self.used(node) for node in range(len(self.spec.nodes)))
        return free * 1000 // total
