"""Control groups of version 2: the tree below /sys/fs/cgroup."""

from __future__ import annotations

import errno

from damonpolicy.emulated.files import Content, above
from damonpolicy.emulated.system.hardware import PRESSURE
from damonpolicy.emulated.world import World
from damonpolicy.kernel.system.cgroups import MOUNT

__all__ = ("Cgroups",)

_CONTROLLERS = "cpuset cpu io memory hugetlb pids rdma misc"
_PRESSURE = ("cpu.pressure", "io.pressure", "memory.pressure")
_FILES = ("cgroup.controllers", "cgroup.procs", "cgroup.stat", "cgroup.subtree_control")


class Cgroups:
    """The directories of all cgroups, whose files are read-only."""

    roots = (MOUNT,)

    def __init__(self, world: World) -> None:
        self.world = world

    def file(self, path: str) -> Content | None:
        directory, _, name = path.rpartition("/")
        cgroup = directory.removeprefix(MOUNT) or "/"
        if not path.startswith(MOUNT) or cgroup not in self.world.state["cgroups"]:
            return None
        memory = self.world.state["cgroups"][cgroup]["memory"]
        if name == "cgroup.controllers":
            words = _CONTROLLERS if cgroup == "/" else "memory pids" if memory else "pids"
            return Content(0o444, lambda: f"{words}\n", None, errno.EINVAL)
        if name == "cgroup.subtree_control":
            words = "memory pids\n" if memory and self._children(cgroup) else ""
            return Content(0o644, lambda: words, None, errno.EOPNOTSUPP)
        if name == "cgroup.procs":
            return Content(0o644, lambda: self._procs(cgroup), None, errno.EOPNOTSUPP)
        if name == "cgroup.stat":
            below = sum(each.startswith(f"{cgroup.rstrip('/')}/") for each in self._others())
            words = f"nr_descendants {below}\nnr_dying_descendants 0\n"
            return Content(0o444, lambda: words, None, errno.EINVAL)
        if name in _PRESSURE and cgroup != "/":
            return Content(0o644, lambda: PRESSURE, None, errno.EOPNOTSUPP)
        if name == "memory.current" and memory and cgroup != "/":
            return Content(0o444, lambda: f"{self._bytes(cgroup)}\n", None, errno.EINVAL)
        return None

    def names(self, path: str) -> dict[str, bool] | None:
        if not path.startswith(MOUNT):
            return above([MOUNT]).get(path)
        cgroup = path.removeprefix(MOUNT) or "/"
        if cgroup not in self.world.state["cgroups"]:
            return None
        found = dict.fromkeys((*_FILES, *(_PRESSURE if cgroup != "/" else ())), False)
        if self.world.state["cgroups"][cgroup]["memory"] and cgroup != "/":
            found["memory.current"] = False
        return found | dict.fromkeys(self._children(cgroup), True)

    def identity(self, path: str) -> int:
        """Return the inode number of a cgroup's directory, which is its id; 0 for anything else."""
        found = self.world.state["cgroups"].get(path.removeprefix(MOUNT) or "/")
        return int(found["id"]) if found and path.startswith(MOUNT) else 0

    def _others(self) -> list[str]:
        return [each for each in self.world.state["cgroups"] if each != "/"]

    def _children(self, cgroup: str) -> list[str]:
        prefix = cgroup.rstrip("/") + "/"
        return [
            each.removeprefix(prefix)
            for each in self._others()
            if each.startswith(prefix) and "/" not in each.removeprefix(prefix)
        ]

    def _members(self, cgroup: str, *, below: bool) -> list[int]:
        prefix = cgroup.rstrip("/") + "/"
        return [
            int(pid)
            for pid, process in self.world.processes.items()
            if process["cgroup"] == cgroup or (below and process["cgroup"].startswith(prefix))
        ]

    def _procs(self, cgroup: str) -> str:
        return "".join(f"{pid}\n" for pid in sorted(self._members(cgroup, below=False)))

    def _bytes(self, cgroup: str) -> int:
        return sum(
            area["size"]
            for pid in self._members(cgroup, below=True)
            for area in self.world.processes[str(pid)]["areas"]
        )
