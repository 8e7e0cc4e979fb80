"""The kernel's own metrics of goals, measured in user space: `GoalMeter`."""

from __future__ import annotations

from damonpolicy.kernel.sysfs import Machine
from damonpolicy.tuning.sources import Stale

__all__ = ("GoalMeter",)

_WHOLE = 10_000
"""Basis points of everything."""


class GoalMeter:
    """Reads what a goal is measured by, in the kernel's unit, as the kernel does.

    Source: mm/damon/core.c, damos_set_quota_goal_current_value() (Linux 7.3).
    """

    def __init__(
        self, machine: Machine, metric: str, *, node: int | None = None, cgroup: str | None = None
    ) -> None:
        del cgroup  # what a cgroup has on a node only the kernel counts by its own lists
        self._machine = machine
        self._metric = metric
        self._node = node or 0
        self._pressed: int | None = None

    def read(self) -> int:
        """Return microseconds since the last reading, or basis points; raises Stale."""
        try:
            if self._metric == "some_mem_psi_us":
                return self._pressure()
            if self._metric in ("node_mem_used_bp", "node_mem_free_bp"):
                return self._node_memory()
            if self._metric in ("active_mem_bp", "inactive_mem_bp"):
                return self._lists()
        except (OSError, ValueError, KeyError, ZeroDivisionError) as error:
            raise Stale(f"`{self._metric}`: {error}") from error
        raise Stale(f"`{self._metric}` is known to the kernel alone")

    def _pressure(self) -> int:
        text = self._machine.read("/proc/pressure/memory")
        line = next(each for each in text.splitlines() if each.startswith("some "))
        total, last = int(line.rpartition("total=")[2]), self._pressed
        self._pressed = total
        if last is None:
            raise Stale(f"`{self._metric}`: a difference needs two readings")
        return total - last

    def _node_memory(self) -> int:
        found = _kilobytes(self._machine.read(f"/sys/devices/system/node/node{self._node}/meminfo"))
        total, free = found["MemTotal"], found["MemFree"]
        return (free if "free" in self._metric else total - free) * _WHOLE // total

    def _lists(self) -> int:
        found = _kilobytes(self._machine.read("/proc/meminfo"))
        active, inactive = found["Active"], found["Inactive"]
        wanted = inactive if self._metric.startswith("inactive") else active
        return wanted * _WHOLE // (active + inactive)


def _kilobytes(text: str) -> dict[str, int]:
    """Read lines `Name: NUMBER kB`, before which a node's have its number."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if rest.split():
            found[name.split()[-1]] = int(rest.split()[0])
    return found
