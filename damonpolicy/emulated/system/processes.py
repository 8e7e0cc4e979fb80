"""Processes: /proc/PID, /proc/self and /etc/passwd."""

from __future__ import annotations

import errno
from typing import Any

from damonpolicy.emulated.files import Content, Link, above
from damonpolicy.emulated.world import World

__all__ = ("Processes",)

_FILES = ("cgroup", "cmdline", "comm", "stat", "status")
_NAMESPACES = {"cgroup": "cgroup:[4026531835]", "pid": "pid:[4026531836]"}
_INNER = 4026532100
"""The first number of namespaces that are made later."""
_COMM_LENGTH = 15
"""TASK_COMM_LEN without its final NUL (include/linux/sched.h)."""


class Processes:
    """The files of every process and kernel thread."""

    roots = ("/proc", "/etc/passwd")

    def __init__(self, world: World) -> None:
        self.world = world

    def _find(self, path: str) -> tuple[int, dict[str, Any], str] | None:
        """Split a path into pid, process and the rest."""
        name, _, rest = path.removeprefix("/proc/").partition("/")
        if name == "self":
            name = str(self.own_pid())
        found = self.world.processes.get(name)
        return (int(name), found, rest) if found else None

    def own_pid(self) -> int:
        """Return the target of /proc/self: the process marked as such, or the last one."""
        mine = [int(pid) for pid, each in self.world.processes.items() if each["self"]]
        users = [int(pid) for pid, each in self.world.processes.items() if not each["thread"]]
        return (mine or sorted(users) or [2])[-1]

    def file(self, path: str) -> Content | Link | None:
        if path == "/etc/passwd":
            return Content(0o644, self._passwd)
        if path == "/proc/self":
            return Link(f"/proc/{self.own_pid()}")
        found = self._find(path)
        if found is None:
            return None
        pid, process, rest = found
        rest = rest.removeprefix(f"task/{pid}/")
        if rest in _FILES:
            text = getattr(self, f"_{rest}")(pid, process)
            return Content(0o644 if rest == "comm" else 0o444, lambda: text, None, errno.EINVAL)
        if rest == "exe":
            usual = "" if process["thread"] else f"/usr/bin/{process['name']}"
            return Link(process["exe"] or usual)
        kind = rest.removeprefix("ns/")
        if kind == "pid" and process.get("inner"):
            return Link(f"pid:[{_INNER + pid}]")
        return Link(_NAMESPACES[kind]) if rest != kind and kind in _NAMESPACES else None

    def names(self, path: str) -> dict[str, bool] | None:
        if path == "/proc":
            return {"self": True, **dict.fromkeys(self.world.processes, True)}
        if path.startswith("/proc/"):
            found = self._find(path)
            if found is None:
                return None
            files = dict.fromkeys((*_FILES, "exe"), False)
            return {
                "": {**files, "ns": True, "task": True},
                "ns": dict.fromkeys(_NAMESPACES, False),
                "task": {str(found[0]): True},
                f"task/{found[0]}": files,
            }.get(found[2])
        return above(["/proc", "/etc"]).get(path) or ({"passwd": False} if path == "/etc" else None)

    def _passwd(self) -> str:
        return "".join(
            f"{name}:x:{uid}:{uid}::/:/bin/sh\n" for name, uid in self.world.spec.users.items()
        )

    def _comm(self, pid: int, process: dict[str, Any]) -> str:
        return f"{process['name'][:_COMM_LENGTH]}\n"

    def _cmdline(self, pid: int, process: dict[str, Any]) -> str:
        words = process["cmdline"].split(" ") if process["cmdline"] else []
        return "".join(f"{word}\0" for word in words)

    def _cgroup(self, pid: int, process: dict[str, Any]) -> str:
        return f"0::{process['cgroup']}\n"

    def _stat(self, pid: int, process: dict[str, Any]) -> str:
        """Fields as of proc_pid_stat(5); the 22nd is the start in clock ticks since boot."""
        parent = 0 if pid <= 2 else 2 if process["thread"] else 1
        size = sum(area["size"] for area in process["areas"])
        flags = 2129984 if process["thread"] else 4194560
        return (
            f"{pid} ({process['name'][:_COMM_LENGTH]}) S {parent} {pid} {pid} 0 -1 {flags} 0 0 0 0"
            f" 0 0 0 0 20 0 1 0 {process['start']} {size} {size // 4096}"
            " 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )

    def _status(self, pid: int, process: dict[str, Any]) -> str:
        parent = 0 if pid <= 2 else 2 if process["thread"] else 1
        uids = "\t".join([str(process["uid"])] * 4)
        lines = [
            f"Name:\t{process['name'][:_COMM_LENGTH]}",
            "Umask:\t0022",
            "State:\tS (sleeping)",
            f"Tgid:\t{pid}",
            f"Pid:\t{pid}",
            f"PPid:\t{parent}",
            f"Uid:\t{uids}",
            f"Gid:\t{uids}",
            f"NSpid:\t{pid}" + (f"\t{process['inner']}" if process.get("inner") else ""),
            f"Kthread:\t{int(process['thread'])}",
        ]
        if not process["thread"]:
            size = sum(area["size"] for area in process["areas"]) // 1024
            lines += [f"VmSize:\t{size:8} kB", f"VmRSS:\t{size:8} kB"]
        return "\n".join([*lines, "Threads:\t1", ""])
