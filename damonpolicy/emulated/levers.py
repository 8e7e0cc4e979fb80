"""External events on an emulated machine: programs start and end, time passes, it reboots.

Tests use these levers, and so does `damonpolicy emulate`.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from damonpolicy.emulated import spec as specs
from damonpolicy.emulated.damon.kdamond import Kdamonds
from damonpolicy.emulated.world import World

__all__ = ("Levers",)


class Levers(ABC):
    """The part of an emulated machine that changes its environment, not its configuration."""

    _world: World
    _kdamonds: Kdamonds

    @abstractmethod
    def _changing(self, path: str | None = None) -> AbstractContextManager[None]:
        """Change the state, and store it; a refusal becomes an error of ``path``."""

    @abstractmethod
    def _boot(self, name: str, boots: int) -> None:
        """Start with a fresh state."""

    def start_process(
        self, name: str, *, areas: Sequence[Mapping[str, Any]] = (), **more: Any
    ) -> int:
        """Start a process and return its pid.

        ``areas`` are as in a machine file; ``more`` may hold ``pid``, ``exe``, ``cmdline``,
        ``uid`` and ``cgroup``. Raises OSError if the pid is taken or memory is full.
        """
        process = specs.Process(name, areas=tuple(specs.area(each) for each in areas), **more)
        with self._changing():
            return self._world.start_process(process)

    def exit_process(self, pid: int) -> None:
        """End a process, and kdamonds that monitored nothing else.

        Raises ProcessLookupError if there is no such process; kernel threads cannot be ended.
        """
        with self._changing():
            if self._world.processes.get(str(pid), {"thread": True})["thread"]:
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(pid))
            del self._world.processes[str(pid)]
            self._kdamonds.end_all_without_targets()

    def move_process(self, pid: int, cgroup: str) -> None:
        """Move a process to an existing cgroup, which makes no event."""
        with self._changing():
            if cgroup not in self._world.state["cgroups"]:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), cgroup)
            self._world.processes[str(pid)]["cgroup"] = cgroup

    def make_cgroup(self, path: str, *, memory: bool = True) -> None:
        """Make a cgroup, with or without the memory controller."""
        with self._changing():
            self._world.make_cgroup(path, memory=memory)

    def remove_cgroup(self, path: str) -> None:
        """Remove a cgroup.

        Raises FileNotFoundError if it is missing, OSError with EBUSY if cgroups or processes are
        left in it.
        """
        with self._changing(path):
            self._world.remove_cgroup(path)

    def reboot(self) -> None:
        """Reboot: a new boot id, DAMON's tree and all settings as at boot, no poison."""
        with self._changing():
            state = self._world.state
            kept = {key: state[key] for key in ("identity", "log") if state.get(key)}
            self._boot(state["name"], state["boots"] + 1)
            state.update(kept)

    def forward(self, seconds: float) -> None:
        """Advance the time at once, for the kernel and for all readers of the clock."""
        with self._changing():
            self._world.state["forwarded"] = self._world.state.get("forwarded", 0.0) + seconds
