"""Measurement of the kernel's goals in user space: `GoalMeter`, scores and trends.

The kernel does not show its measurements, only the resulting quota.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal, TypeAlias

from damonpolicy.base.errors import reason_of
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.system.cgroups import MOUNT
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.tuning.sources import Stale

__all__ = ("GoalMeter", "Trend", "score", "trend")

Trend: TypeAlias = Literal["rising", "falling", "steady"]

_WHOLE = 10_000
"""The whole in basis points, which is the score of a reached goal."""
_NODES = "/sys/devices/system/node"
_LRU = ("active_anon", "inactive_anon", "active_file", "inactive_file")
_WHY_NOT = {
    "node_eligible_mem_bp": "only the kernel knows which memory a scheme may act on",
    "hugepage_mem_bp": "only the kernel knows which regions it counts",
}
_LEAST_CHANGE = Fraction(1, 20)


@dataclass(slots=True)
class GoalMeter:
    """The number that the kernel compares with a goal's target (mm/damon/core.c of Linux 7.3).

    ``metric`` is the kernel's word; ``window``, for pressure only, is in seconds. With it, pressure
    is the mean over that many seconds, whenever the last reading was: the kernel measures it per
    interval of the quota.
    """

    machine: Machine
    metric: str
    node: int = 0
    cgroup: str = ""
    complement: bool = False
    window: float | None = None
    _last: tuple[float, int] | None = None

    def read(self) -> int:
        """Return the value in the unit of the metric's name: microseconds, or basis points.

        Raises Stale if it cannot be measured; for pressure also the first time.
        """
        metric = self.metric
        if self.complement:
            raise Stale("only the kernel measures the complement")
        try:
            if metric == "some_mem_psi_us":
                return self._pressure()
            if metric in ("node_mem_used_bp", "node_mem_free_bp"):
                return self._node_memory(used=metric == "node_mem_used_bp")
            if metric in ("node_memcg_used_bp", "node_memcg_free_bp"):
                return self._cgroup_memory(used=metric == "node_memcg_used_bp")
            if metric in ("active_mem_bp", "inactive_mem_bp"):
                return self._lru(active=metric == "active_mem_bp")
        except (OSError, KeyError, ValueError, IndexError) as error:
            self._last = None
            other = "this kernel tells it in another way, or not"
            raise Stale(reason_of(error) if isinstance(error, OSError) else other) from error
        raise Stale(_WHY_NOT.get(metric, "only the kernel measures it"))

    def _pressure(self) -> int:
        """Microseconds in which some task waited for memory, since the last reading.

        damos_set_quota_goal_current_value() takes the difference of psi_system.total of
        PSI_MEM_SOME, which is the total of this line.
        """
        lines = self.machine.read("/proc/pressure/memory").splitlines()
        some = next((line for line in lines if line.startswith("some ")), "")
        total = int(some.rpartition("total=")[2])
        now, last = self.machine.monotonic(), self._last
        self._last = (now, total)
        if last is None or now <= last[0] or total < last[1]:
            raise Stale("it needs two readings, which a service takes")
        passed = total - last[1]
        if self.window is None:
            return passed
        return round(passed * Fraction(self.window) / Fraction(now - last[0]))

    def _node_memory(self, *, used: bool) -> int:
        """A node's used or free memory: damos_get_node_mem_bp(), of si_meminfo_node()."""
        sizes = self._meminfo(f"{_NODES}/node{self.node}/meminfo")
        free = sizes["MemFree"]
        return _share(sizes["MemTotal"] - free if used else free, sizes["MemTotal"])

    def _cgroup_memory(self, *, used: bool) -> int:
        """A cgroup's memory on the LRU lists of a node, as a share of the node's memory.

        damos_get_node_memcg_used_bp(); free memory is the rest. In numa_stat these are bytes.
        """
        total = self._meminfo(f"{_NODES}/node{self.node}/meminfo")["MemTotal"] * 1024
        path = f"{MOUNT}/{self.cgroup.strip('/')}/memory.numa_stat"
        lines = (line.split() for line in self.machine.read(path).splitlines())
        node = f"N{self.node}="
        kinds = {
            words[0]: int(each.removeprefix(node))
            for words in lines
            for each in words[1:]
            if each.startswith(node)
        }
        held = sum(kinds[kind] for kind in _LRU)
        return _share(held if used else total - held, total)

    def _lru(self, *, active: bool) -> int:
        """The share of the LRU lists that is active: damos_get_in_active_mem_bp()."""
        sizes = self._meminfo("/proc/meminfo")
        whole = sizes["Active"] + sizes["Inactive"]
        return _share(sizes["Active" if active else "Inactive"], whole)

    def _meminfo(self, path: str) -> dict[str, int]:
        """Read lines `NAME: NUMBER kB`, which begin with `Node N` in a node's file."""
        found = {}
        for line in self.machine.read(path).splitlines():
            name, _, rest = line.partition(":")
            found[name.split()[-1]] = int(rest.split()[0])
        return found


def _share(part: int, whole: int) -> int:
    if whole <= 0:
        raise ValueError("nothing of which it could be a share")
    return part * _WHOLE // whole


def score(current: int, target: int) -> int:
    """Return the score of a goal in basis points; a scheme's is the largest of its goals.

    Source: mm/damon/core.c, damos_quota_score() (Linux 7.3). Goals without a target do not count.
    """
    return current * _WHOLE // target if target else 0


def trend(values: Iterable[int]) -> Trend | None:
    """Return the trend of a series, oldest first: its later half against the earlier one.

    None for too few values; a difference of less than a twentieth is steady.
    """
    series = tuple(values)  # a deque has no slices
    half = len(series) // 2
    if half < 2:
        return None
    early, late = sum(series[:half]), sum(series[-half:])
    if abs(late - early) <= _LEAST_CHANGE * max(early, late):
        return "steady"
    return "rising" if late > early else "falling"
