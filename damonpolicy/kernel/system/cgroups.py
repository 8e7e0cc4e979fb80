"""Control groups: subtrees, their processes, and the identity of the cgroup at a path."""

from __future__ import annotations

import errno
import glob
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase

from damonpolicy.kernel.system.machine import Machine, read_or

__all__ = (
    "MOUNT",
    "Members",
    "children",
    "exists",
    "has_memory",
    "identities",
    "in_unit",
    "inside",
    "is_pattern",
    "its_name",
    "matching",
    "named_like",
    "so_named",
    "subtree",
)

MOUNT = "/sys/fs/cgroup"


def _place(path: str) -> str:
    return (MOUNT + "/" + path.strip("/")).rstrip("/")


def is_pattern(path: str) -> bool:
    """Return whether a path is a pattern, such as `/system.slice/a-*.scope`.

    `**` stands for any number of names, including none.
    """
    return any(char in path for char in "*?[")


def in_unit(name: str) -> str:
    """Return the pattern of the cgroup of a systemd unit, in any slice."""
    return f"/**/{name}"


def so_named(path: str) -> str:
    """Return a pattern for exactly this name, even if the name looks like a pattern."""
    return glob.escape(path)


def its_name(path: str) -> str:
    """Return the name from the result of `so_named`."""
    return re.sub(r"\[([*?[])\]", r"\1", path)


def matching(machine: Machine, path: str) -> list[str]:
    """Return the cgroups that a pattern matches, name by name, in order; a path itself."""
    found = [""]
    for name in path.strip("/").split("/"):
        if name == "**":
            below = (each for above in found for each in _all(machine, above, order=sorted))
            found = list(dict.fromkeys(below))
        elif is_pattern(name):
            found = [
                f"{above}/{each}"
                for above in found
                for each in sorted(children(machine, above))
                if fnmatchcase(each, name)
            ]
        else:
            found = [f"{above}/{name}" for above in found]
    return [each for each in found if not is_pattern(path) or _there(machine, each)]


def inside(path: str, ancestor: str) -> bool:
    """Return whether a cgroup is another one, or below it, or below one that matches a pattern."""
    root = ancestor.strip("/")
    if is_pattern(root):
        return _fits(path.strip("/").split("/"), root.split("/"))
    return not root or path == f"/{root}" or path.startswith(f"/{root}/")


def _fits(names: list[str], wanted: list[str]) -> bool:
    """Return whether a pattern matches the beginning of a path."""
    here = {0}
    for each in wanted:
        if each == "**":
            here = set(range(min(here), len(names) + 1))
        else:
            here = {at + 1 for at in here if at < len(names) and fnmatchcase(names[at], each)}
        if not here:
            return False
    return True


def exists(machine: Machine, path: str) -> bool:
    """Return whether a cgroup, or any cgroup of a pattern, exists."""
    if is_pattern(path):
        return bool(matching(machine, path))
    return _there(machine, path)


def _there(machine: Machine, path: str) -> bool:
    return machine.exists(f"{_place(path)}/cgroup.controllers")


def has_memory(machine: Machine, path: str) -> bool:
    """Return whether a cgroup has the memory controller; without it nothing can match."""
    return "memory" in read_or(machine, f"{_place(path)}/cgroup.controllers").split()


def children(machine: Machine, path: str) -> list[str]:
    """Return the names of the cgroups right below ``path``."""
    try:
        return [name for name, is_dir in machine.scan(_place(path)) if is_dir]
    except OSError:
        return []


def _all(
    machine: Machine, *tops: str, order: Callable[[list[str]], list[str]] = list
) -> Iterator[str]:
    """Yield cgroups and all below them, nearest first."""
    waiting = list(tops)
    while waiting:
        here = waiting.pop(0)
        yield here
        waiting += [f"{here.rstrip('/')}/{name}" for name in order(children(machine, here))]


def subtree(machine: Machine, path: str) -> list[str]:
    """Return ``path``, or its matches, and all cgroups below with the memory controller.

    The kernel compares a page's own cgroup only (mm/damon/ops-common.c:
    damos_folio_filter_match()), so a subtree is the list of all its members.
    """
    tops = matching(machine, path)
    return [each for each in _all(machine, *tops) if has_memory(machine, each)]


def named_like(machine: Machine, name: str) -> list[str]:
    """Return the cgroups whose path ends in ``name``, or whose unit has it, nearest first."""
    asked = name.removeprefix(MOUNT).strip("/")
    if not asked:
        return []
    ends = tuple(f"/{asked}{suffix}" for suffix in ("", ".service", ".slice", ".scope"))
    return [each for each in _all(machine, "/") if each != "/" and each.endswith(ends)]


def identities(machine: Machine, paths: Iterable[str]) -> dict[str, int]:
    """Return the identities of the cgroups at some paths; missing ones are left out.

    The kernel turns a path into an id once, when a kdamond is started or committed
    (mm/damon/sysfs-schemes.c: damon_sysfs_memcg_path_to_id()). A cgroup that was removed and made
    again has another id, and another inode number. 0 where that is unknown.
    """
    found = {}
    for path in paths:
        with suppress(OSError):
            found[path] = machine.identity(_place(path))
    return found


class Members:
    """The processes in a cgroup and all cgroups below it, for repeated reads."""

    def __init__(self, machine: Machine, path: str) -> None:
        self._machine = machine
        self._top = "/" + path.strip("/")
        self._tree: list[str] = []
        self._parts: dict[str, Members] = {}

    def read(self) -> set[int] | None:
        """Return their pids; None if unknown.

        They are unknown for a threaded cgroup (cgroup.procs is EOPNOTSUPP), and without version 2.
        A missing cgroup has none.
        """
        if not exists(self._machine, "/"):
            return None
        if is_pattern(self._top):
            return self._matching()
        # as many as before, and all of them still exist: the same, so no directory is listed
        found = self._read() if self._descendants() == len(self._tree) - 1 else None
        if found is None:
            there = exists(self._machine, self._top)
            self._tree = list(_all(self._machine, self._top)) if there else []
            found = self._read() or set()
        return None if -1 in found else found - {0}  # processes of another namespace

    def _matching(self) -> set[int] | None:
        """Return the processes in all matching cgroups; None if those of one are unknown."""
        tops = matching(self._machine, self._top)
        self._parts = {top: self._parts.get(top) or Members(self._machine, top) for top in tops}
        parts = [each.read() for each in self._parts.values()]
        return None if None in parts else set().union(*filter(None, parts))

    def _read(self) -> set[int] | None:
        """Read all lists; None if one of the cgroups is gone, -1 if the top has no list."""
        found: set[int] = set()
        for each in self._tree:
            try:
                found.update(map(int, self._machine.read(f"{_place(each)}/cgroup.procs").split()))
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    return None
                if (
                    each == self._top
                ):  # those below are listed at the root of their threaded subtree
                    found.add(-1)
        return found

    def _descendants(self) -> int:
        lines = read_or(self._machine, f"{_place(self._top)}/cgroup.stat").splitlines()
        counts = (line.removeprefix("nr_descendants ") for line in lines)
        return int(next((each for each in counts if each.isdecimal()), -2))
