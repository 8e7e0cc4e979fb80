"""Which machine and which boot this is, and whether we may speak for it."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

from damonpolicy.errors import DamonPolicyError
from damonpolicy.kernel.sysfs import Machine, entries, read_or, read_value

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
"""Kernel modules with a kdamond of their own that lets no other run beside it."""

_INITIAL = {"pid": "pid:[4026531836]", "cgroup": "cgroup:[4026531835]"}
"""Inode numbers of the initial namespaces (include/uapi/linux/nsfs.h, enum init_ns_ino)."""


@dataclass(frozen=True, slots=True)
class Host:
    """A boot of a machine."""

    boot_id: str
    release: str
    namespaces: tuple[str, ...]
    """Kinds of namespace in which we are not in the machine's initial one."""


def look(machine: Machine) -> Host:
    """Return the identity of a machine."""
    if machine.name == "live":
        return _here(machine)  # type: ignore[arg-type]  # each is equal to itself alone
    return _read(machine)


@functools.lru_cache(maxsize=1)
def _here(machine: Machine) -> Host:
    """Read it once: while a process lives, its machine's boot and its namespaces stay."""
    return _read(machine)


def _read(machine: Machine) -> Host:
    boot_id = _boot_id(machine)
    outside = tuple(kind for kind, initial in _INITIAL.items() if _outside(machine, kind, initial))
    return Host(boot_id, read_or(machine, "/proc/sys/kernel/osrelease"), outside)


def _outside(machine: Machine, kind: str, initial: str) -> bool:
    """Tell whether we are in another namespace; one that we may not look at counts as another."""
    path = f"/proc/self/ns/{kind}"
    try:
        return machine.exists(path) and not machine.resolve(path).endswith(initial)
    except OSError:
        return True


def _boot_id(machine: Machine) -> str:
    """Return which boot this is; a copied tree may lack it.

    Raises DamonPolicyError where it cannot be read: all that we know, and the journal of a
    transaction, would seem to be of an earlier boot.
    """
    path = "/proc/sys/kernel/random/boot_id"
    found = read_or(machine, path)
    if not found and machine.writable:
        raise DamonPolicyError(f"this boot is not known: `{path}` cannot be read")
    return found


def busy_modules(machine: Machine) -> list[str]:
    """Return the modules of DAMON whose own kdamond runs.

    Some kernels go on to say that a module is enabled whose kdamond has ended. Raises OSError where
    nobody can tell: a module that runs must not be taken for one that does not.
    """
    return [
        module for module in MODULES if _enabled(machine, module) and not _ended(machine, module)
    ]


def module_thread(machine: Machine, module: str) -> int:
    """Return the pid of the kdamond of a module that runs, 0 where it is not found.

    Some kernels do not tell DAMON_STAT's. No other kdamond runs beside it, so it is the only one.
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
        return False  # nobody who may not read it may change it


def _ended(machine: Machine, module: str) -> bool:
    """Tell whether the thread is gone that a module tells of; a copied tree has no threads."""
    pid = read_or(machine, f"/sys/module/{module}/parameters/kdamond_pid")
    if not pid or not pids(machine):
        return False
    return not (pid.isdecimal() and starts(machine, int(pid)))


def starts(machine: Machine, pid: int) -> int:
    """Return a process' start time in clock ticks since boot, 0 where there is no such process.

    Field 22 of /proc/PID/stat (proc_pid_stat(5)); with the pid it names a process for good.

    Raises OSError where that cannot be read: a process that lives must not be taken for dead.
    """
    try:
        fields = _fields(machine.read(f"/proc/{pid}/stat"))
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return 0
    return int(fields[19]) if len(fields) > 19 else 0


def seconds(ticks: int) -> float:
    """Return clock ticks in seconds: start times are on the clock of `Machine.monotonic`."""
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_seconds(machine: Machine, pid: int) -> float | None:
    """Return the CPU time that a process has taken, None where the machine does not tell.

    Fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)), in clock ticks.
    """
    fields = _stat(machine, pid)
    if len(fields) < 13:
        return None
    return seconds(int(fields[11]) + int(fields[12]))


def _stat(machine: Machine, pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: a name may hold anything."""
    return _fields(read_or(machine, f"/proc/{pid}/stat"))


def _fields(text: str) -> list[str]:
    return text.rpartition(")")[2].split()


def pids(machine: Machine) -> list[int]:
    """Return all process ids."""
    return [int(name) for name in entries(machine, "/proc") if name.isdecimal()]
