"""Status of DAMON's own modules in the kernel, from their read-only parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import approximate_bytes, approximate_duration
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.modules import parameter_path
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.system.host import module_thread
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.observe.watermarks import Watch, of_module

if TYPE_CHECKING:
    from damonpolicy.observe.collect.running import Kdamond

__all__ = ("ModuleStatus", "kdamonds", "look")

_WORK = {
    "damon_reclaim": {"": ("reclaim_tried_regions", "reclaimed_regions", "quota_exceeds")},
    "damon_lru_sort": {
        each: (
            f"lru_sort_tried_{each}_regions", f"lru_sorted_{each}_regions", f"{each}_quota_exceeds"
        )
        for each in ("hot", "cold")
    },
}  # fmt: skip
_BANDWIDTH = "estimated_memory_bandwidth"
_IDLE = "memory_idle_ms_percentiles"
_SHOWN = (25, 50, 75)
"""Percentiles of idle time to show as text."""


_STAT_AGGREGATION = 100_000
"""The start of DAMON_STAT's tuned intervals in microseconds (mm/damon/stat.c)."""

_SAMPLES = 20
"""Samples of each of its aggregations, however it tunes."""


@dataclass(frozen=True, slots=True)
class ModuleStatus:
    """A module with a running kdamond: whether it sleeps, and its figures by the kernel's names."""

    name: str
    watch: Watch | None
    figures: Mapping[str, int] = field(default_factory=dict)
    idle: Sequence[int] = ()
    """The idle time of memory in milliseconds, by percentile; empty if unknown."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "module": self.name,
            "watermarks": self.watch.to_json() if self.watch else None,
            "figures": dict(self.figures),
            "idle_ms_percentiles": list(self.idle) or None,
        }

    @property
    def lines(self) -> list[str]:
        """Return lines of text, without unmeasured figures."""
        lines = [self.watch.words] if self.watch else []
        for kind, (tried, done, exceeds) in _WORK.get(self.name, {}).items():
            names = (f"bytes_{tried}", f"nr_{tried}", f"bytes_{done}", f"nr_{exceeds}")
            if not self.figures.keys() >= set(names):
                continue
            size, count, worked, exceeded = (self.figures[each] for each in names)
            lines.append(
                f"{kind + ': ' if kind else ''}tried {approximate_bytes(size)} in {count} regions,"
                f" {'reclaimed' if not kind else 'sorted'} {approximate_bytes(worked)},"
                f" quota exceeded {exceeded} times"
            )
        if self.figures.get(_BANDWIDTH):
            lines.append(f"memory bandwidth about {approximate_bytes(self.figures[_BANDWIDTH])}/s")
        if any(self.idle):
            shares = [f"{each}% {_idle(self.idle[each])}" for each in _SHOWN]
            lines.append(f"idle for no longer than: {', '.join(shares)} of memory")
        return lines


def _idle(milliseconds: int) -> str:
    """Write an idle time, which on newer kernels is negative for memory in use."""
    if milliseconds < 0:
        return f"in use for {approximate_duration(-milliseconds * 1000)}"
    return approximate_duration(milliseconds * 1000)


def look(machine: Machine, names: Sequence[str], free: int | None) -> list[ModuleStatus]:
    """Read the figures of the modules in ``names``; ``free`` memory is in parts of 1000."""
    return [_module(name, _content(machine, name), free) for name in names]


def kdamonds(machine: Machine, names: Sequence[str]) -> list[Kdamond]:
    """Return the kdamonds of running modules, which have no slot, and only trace events.

    Their trees have the form of a slot's.
    """
    # slow to import, and `status` does without
    from damonpolicy.observe.collect.running import Kdamond
    from damonpolicy.observe.regions import UNKNOWN

    return [
        Kdamond(UNKNOWN, name, False, pid, _tree(machine, name), {})
        for name in names
        if (pid := module_thread(machine, name))
    ]


def _tree(machine: Machine, name: str) -> Tree:
    """Convert a module's parameters to the files of a slot."""
    content = _content(machine, name)
    tuned = name == "damon_stat" or content("autotune_monitoring_intervals") == "Y"
    aggregation = int(content("aggr_interval_us") or 0) or _STAT_AGGREGATION
    sample = aggregation // _SAMPLES
    if not tuned:
        sample, aggregation = (int(content(f"{each}_interval") or 0) for each in ("sample", "aggr"))
    slot = view.Kdamond()
    intervals, regions = slot.intervals, slot.targets[0].regions
    files = {
        slot.ops: "paddr",
        slot.addr_unit: content("addr_unit"),
        intervals.sample: str(sample),
        intervals.aggregation: str(aggregation),
        intervals.auto_tune.aggregations: str(int(tuned)),
        slot.region_count.max: content("max_nr_regions"),
        slot.targets.count: "1",
    }
    start, end = content("monitor_region_start"), content("monitor_region_end")
    if start and end:
        files |= {regions.count: "1", regions[0].start: start, regions[0].end: end}
    return {each.path: text or each.text for each, text in files.items()}


def _content(machine: Machine, name: str) -> Callable[[str], str]:
    """Return a reader of a module's parameters."""
    return lambda parameter: read_or(machine, parameter_path(name, parameter))


def _module(name: str, content: Callable[[str], str], free: int | None) -> ModuleStatus:
    told = [
        f"{prefix}_{each}"
        for group in _WORK.get(name, {}).values()
        for each in group
        for prefix in (("nr",) if each.endswith("exceeds") else ("nr", "bytes"))
    ]
    texts = {each: content(each) for each in (*told, _BANDWIDTH)}
    idle = content(_IDLE).split(",")
    numbers = [int(each) for each in idle if each.removeprefix("-").isdecimal()]
    return ModuleStatus(
        name,
        of_module(content, free),
        {each: int(text) for each, text in texts.items() if text.isdecimal()},
        numbers if len(numbers) == 101 else (),
    )
