"""The identity of the machine and its boot, and whether we are in its initial namespaces."""

from __future__ import annotations

import functools
import os

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.system.machine import Machine, entries, read_or, read_value

__all__ = (
    "MODULES",
    "Host",
    "busy_modules",
    "cpu_seconds",
    "look",
    "module_thread",
    "pids",
    "seconds",
    "starts",
)

MODULES = ("damon_stat", "damon_reclaim", "damon_lru_sort")
"""Kernel modules with a kdamond of their own, beside which no other can run."""

_INITIAL = {"pid": "pid:[4026531836]", "cgroup": "cgroup:[4026531835]"}
"""Inode numbers of the initial namespaces (include/uapi/linux/nsfs.h, enum init_ns_ino)."""


@dataclass(frozen=True, slots=True)
class Host:
    """A boot of a machine."""

    boot_id: str
    release: str
    namespaces: tuple[str, ...]
    """The kinds of namespace in which we are outside the machine's initial one."""


def look(machine: Machine) -> Host:
    """Return the identity of a machine."""
    if machine.here:
        return _here(machine)  # type: ignore[arg-type]  # each is equal to itself alone
    return _read(machine)


@functools.lru_cache(maxsize=1)
def _here(machine: Machine) -> Host:
    """Read it, cached: a process' boot and namespaces never change."""
    return _read(machine)


def _read(machine: Machine) -> Host:
    boot_id = _boot_id(machine)
    outside = tuple(kind for kind, initial in _INITIAL.items() if _outside(machine, kind, initial))
    return Host(boot_id, read_or(machine, "/proc/sys/kernel/osrelease"), outside)


def _outside(machine: Machine, kind: str, initial: str) -> bool:
    """Return whether we are in another namespace; an unreadable one counts as another."""
    path = f"/proc/self/ns/{kind}"
    try:
        return machine.exists(path) and not machine.resolve(path).endswith(initial)
    except OSError:
        return True


def _boot_id(machine: Machine) -> str:
    """Return the boot id; a copied tree may lack it.

    Raises DamonPolicyError if it cannot be read: otherwise our state, and the journal of a
    transaction, would seem to be of an earlier boot.
    """
    path = "/proc/sys/kernel/random/boot_id"
    found = read_or(machine, path)
    if not found and machine.writable:
        raise DamonPolicyError(f"this boot is not known: `{path}` cannot be read")
    return found


def busy_modules(machine: Machine) -> list[str]:
    """Return the modules of DAMON whose kdamond runs.

    Some kernels still show a module as enabled after its kdamond has ended. Raises OSError if the
    state is unknown: a running module must not count as stopped.
    """
    return [
        module for module in MODULES if _enabled(machine, module) and not _ended(machine, module)
    ]


def module_thread(machine: Machine, module: str) -> int:
    """Return the pid of a running module's kdamond, 0 if it is not found.

    Some kernels do not show DAMON_STAT's. No other kdamond runs beside it, so it is the only one.
    """
    pid = read_or(machine, f"/sys/module/{module}/parameters/kdamond_pid")
    if pid.isdecimal() and pid != "0":
        return int(pid)
    threads = (
        each for each in pids(machine) if read_or(machine, f"/proc/{each}/comm")[:8] == "kdamond."
    )
    return next(threads, 0)


def _enabled(machine: Machine, module: str) -> bool:
    try:
        return read_value(machine, f"/sys/module/{module}/parameters/enabled") == "Y"
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False  # without the right to read it there is none to change it


def _ended(machine: Machine, module: str) -> bool:
    """Return whether the thread that a module shows is gone; a copied tree has no threads."""
    pid = read_or(machine, f"/sys/module/{module}/parameters/kdamond_pid")
    if not pid or not pids(machine):
        return False
    return not (pid.isdecimal() and starts(machine, int(pid)))


def starts(machine: Machine, pid: int) -> int:
    """Return a process' start time in clock ticks since boot, 0 if there is no such process.

    Field 22 of /proc/PID/stat (proc_pid_stat(5)); with the pid it identifies a process uniquely.

    Raises OSError if it cannot be read: a living process must not count as dead.
    """
    try:
        fields = _fields(machine.read(f"/proc/{pid}/stat"))
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return 0
    return int(fields[19]) if len(fields) > 19 else 0


def seconds(ticks: int) -> float:
    """Convert clock ticks to seconds: start times are on the clock of `Machine.monotonic`."""
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_seconds(machine: Machine, pid: int) -> float | None:
    """Return the CPU time of a process, None if unknown.

    Fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)), in clock ticks.
    """
    fields = _fields(read_or(machine, f"/proc/{pid}/stat"))
    return seconds(int(fields[11]) + int(fields[12])) if len(fields) > 12 else None


def _fields(text: str) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on, as a name may contain anything."""
    return text.rpartition(")")[2].split()


def pids(machine: Machine) -> list[int]:
    """Return all process ids."""
    return [int(name) for name in entries(machine, "/proc") if name.isdecimal()]
