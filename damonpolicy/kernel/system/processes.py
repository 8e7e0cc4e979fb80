"""Processes, and their selectors.

Read from /proc through the machine's protocol rather than by psutil, so that the same
code sees the processes of the live and of the emulated machine.
"""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Collection, Iterable, Iterator

from damonpolicy.base.expressions import compiled
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.system.cgroups import Members, inside
from damonpolicy.kernel.system.host import pids, starts
from damonpolicy.kernel.system.machine import Machine, read_or

__all__ = ("Process", "Selector", "Table", "find", "inner_id", "known_names", "numbered", "unknown")

_COMM_LENGTH = 15
"""TASK_COMM_LEN without its final NUL: longer names are cut."""
_YOUNG = 5.0
"""Seconds within which a new process may still execute another program."""
_SWEEP, _SELDOM = 10.0, 60.0
"""Seconds between full reads of all processes: without the kernel's events, and with them."""
_MOVES = 1.0
"""Seconds between two reads of cgroup members, as the kernel reports no moves."""
_SHARE = 500
"""The pause after a read, as a multiple of its duration: with thousands, moves are seen later."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process with memory of its own."""

    pid: int
    start: int
    comm: str
    exe: str | None
    """None if unknown, as for other users' processes and in containers."""
    cmdline: str
    uid: int
    cgroup: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions on a process; empty fields do not matter, all others must hold."""

    pid: int = 0
    name: str = ""
    cmdline: str = ""
    exe: str = ""
    user: str = ""
    cgroup: str = ""

    def __post_init__(self) -> None:
        if self.cmdline:
            compiled(self.cmdline)  # a file of ours that was changed may hold anything

    def __str__(self) -> str:
        given = {key: getattr(self, key) for key in self.__slots__ if getattr(self, key)}
        return ", ".join(f"{key}: {value}" for key, value in given.items())


def find(machine: Machine, selector: Selector) -> list[Process]:
    """Return the matching processes, oldest first."""
    candidates = [selector.pid] if selector.pid else pids(machine)
    uid = _uid(machine, selector.user) if selector.user else None
    found = (_read(machine, pid) for pid in candidates)
    return _oldest_first(each for each in found if each and _matches(each, selector, uid))


def _oldest_first(found: Iterable[Process]) -> list[Process]:
    return sorted(found, key=lambda process: (process.start, process.pid))


class Table:
    """All processes of a machine, updated by reading only those that have changed.

    Without events, new and young processes are read, and sometimes all of them, which also finds
    reused pids. The members of relevant cgroups are read each second, as a move makes no event.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.version = 0
        """A number that changes with each update that found a change."""
        self._processes: dict[int, Process | None] = {}
        self._since: dict[int, float] = {}
        self._swept = -_SELDOM
        self._look_at = 0.0
        self._members: dict[str, Members] = {}

    def update(self, changed: Collection[int] | None = None, cgroups: Collection[str] = ()) -> None:
        """Read the processes that have ``changed``; None if that is unknown.

        ``cgroups`` are those whose members matter.
        """
        now = self._machine.monotonic()
        if now - self._swept >= (_SWEEP if changed is None else _SELDOM):
            self._swept, here = now, set(pids(self._machine))
            stale = here
        elif changed is None:
            here = set(pids(self._machine))
            stale = {pid for pid in here if now - self._since.get(pid, now) < _YOUNG}
        else:
            here, stale = {*self._processes, *changed}, set(changed)
        if cgroups and now >= self._look_at:
            began = time.monotonic()
            stale |= self._moved(cgroups)
            self._look_at = now + max(_MOVES, _SHARE * (time.monotonic() - began))
        for pid in [*self._processes]:
            if pid not in here:
                self.version += 1
                del self._processes[pid], self._since[pid]
        for pid in stale:
            process = _read(self._machine, pid)
            known = self._processes.get(pid)
            if process is None and changed is not None and not self._machine.exists(f"/proc/{pid}"):
                self._processes.pop(pid, None)
                self._since.pop(pid, None)
                self.version += 1
                continue
            if pid not in self._since or (process and known and known.start != process.start):
                self._since[pid] = now
            self.version += process != known
            self._processes[pid] = process

    def _moved(self, cgroups: Collection[str]) -> set[int]:
        """Return the processes that moved into or out of some cgroups."""
        found: set[int] = set()
        for path in cgroups:
            there = self._members.setdefault(path, Members(self._machine, path)).read()
            if there is not None:
                known = {
                    pid
                    for pid, process in self._processes.items()
                    if process and inside(process.cgroup, path)
                }
                # a process without memory of its own does not matter
                found |= {pid for pid in there ^ known if self._processes.get(pid, True)}
        return found

    def forget(self) -> None:
        """Read all of them the next time, as events were missed."""
        self._swept = self._machine.monotonic() - _SELDOM

    def find(self, machine: Machine, selector: Selector) -> list[Process]:
        """Return the matching processes, oldest first, as of the last update."""
        uid = _uid(machine, selector.user) if selector.user else None
        return _oldest_first(
            process
            for process in self._processes.values()
            if process
            and (not selector.pid or process.pid == selector.pid)
            and _matches(process, selector, uid)
        )


def known_names(machine: Machine) -> list[str]:
    """Return the names of all processes with memory, for hints."""
    return sorted({process.comm for process in _all(machine)})


def unknown(machine: Machine) -> int:
    """Return the number of processes whose programs are unreadable, for hints."""
    return sum(process.exe is None for process in _all(machine))


def _all(machine: Machine) -> Iterator[Process]:
    return filter(None, (_read(machine, pid) for pid in pids(machine)))


def inner_id(machine: Machine, thread: int) -> int:
    """Return the number of a thread in its own pid namespace, 0 if there is no such thread."""
    fields = _status(machine, f"/proc/{thread}")
    return int(fields.get("NSpid", str(thread)).split()[-1]) if fields else 0


def numbered(machine: Machine, wanted: Collection[int]) -> dict[int, list[int]]:
    """Return the threads with memory that have one of some numbers in their own pid namespaces."""
    found: dict[int, list[int]] = {number: [] for number in wanted}
    for pid in pids(machine) if wanted else ():
        try:
            tasks = [entry.name for entry in machine.scan(f"/proc/{pid}/task")]
        except OSError:
            continue  # it has ended
        for task in tasks:
            fields = _status(machine, f"/proc/{pid}/task/{task}")
            number = int(fields.get("NSpid", task).split()[-1])
            if number in found and "VmSize" in fields:
                found[number].append(int(task))
    return found


def _status(machine: Machine, base: str) -> dict[str, str]:
    """Return the fields of a process' or thread's ``status``, none if it is gone."""
    lines = read_or(machine, f"{base}/status").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _read(machine: Machine, pid: int) -> Process | None:
    # Any of these reads may find it gone, and the next one may find another process with its pid.
    # The start time comes first, so that no process is taken for one that started later.
    base = f"/proc/{pid}"
    try:
        start = starts(machine, pid) or starts(machine, pid)
    except OSError:
        return None  # its owner is unknown, so it belongs to nobody
    fields = _status(machine, base)
    if "VmSize" not in fields:
        return None  # gone, a kernel thread, or a zombie: nothing that could be monitored
    line = next(
        (
            each
            for each in read_or(machine, f"{base}/cgroup").splitlines()
            if each.startswith("0::")
        ),
        "0::/",
    )
    return Process(
        pid=pid,
        start=start,
        comm=read_or(machine, f"{base}/comm"),
        exe=_exe(machine, f"{base}/exe"),
        cmdline=read_or(machine, f"{base}/cmdline").rstrip("\0").replace("\0", " "),
        uid=int(fields.get("Uid", "0").split()[0]),
        cgroup=line.removeprefix("0::"),
    )


def _exe(machine: Machine, link: str) -> str | None:
    """Return the executable of a process; empty if it has ended, None if unreadable."""
    try:
        found = machine.resolve(link)
    except PermissionError:
        return None
    except OSError:
        return ""  # a zombie has no program any more, but its link is there
    if found == link:  # it leads nowhere; newer versions of Python do not tell why
        return None if machine.exists(link) else ""
    return found.removesuffix(" (deleted)")


def _matches(process: Process, selector: Selector, uid: int | None) -> bool:
    return (
        (not selector.name or selector.name in _names(process))
        and (not selector.cmdline or compiled(selector.cmdline).found(process.cmdline))
        and (not selector.exe or fnmatch.fnmatchcase(process.exe or "", selector.exe))
        and (not selector.user or process.uid == uid)
        and (not selector.cgroup or inside(process.cgroup, selector.cgroup))
    )


def _names(process: Process) -> tuple[str, ...]:
    """Comm, and the base name of the executable where the kernel has cut comm."""
    base = os.path.basename(process.exe or "")
    cut = len(process.comm) == _COMM_LENGTH and base.startswith(process.comm)
    return (process.comm, base) if cut else (process.comm,)


def _uid(machine: Machine, user: str) -> int:
    """Return the number of a user of that machine, -1 for an unknown one."""
    if user.isdecimal():
        return int(user)
    for line in read_or(machine, "/etc/passwd").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == user and fields[2].isdecimal():
            return int(fields[2])
    return -1
