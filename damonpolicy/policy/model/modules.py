"""``modules:`` of a policy: DAMON's modules, with the names of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, TypeAlias

from damonpolicy.base import units
from damonpolicy.base.units import UnitError
from damonpolicy.kernel.damon.modules import PARAMETERS, REGION, parameter_path
from damonpolicy.policy.model.scalars import (
    SIZE,
    TIME,
    Address,
    Count,
    Duration,
    Flag,
    Model,
    Percent,
    scalar,
)

__all__ = (
    "DamonLruSort",
    "DamonReclaim",
    "DamonStat",
    "Module",
    "Modules",
    "SizeLimit",
    "TimeLimit",
)

_UNLIMITED = "unlimited"
_SCALES = {"ms": Fraction(1, 1_000), "permil": Fraction(1_000), "bp": Fraction(10_000)}
"""Conversions from a scalar's value to the unit of the kernel's file; others need none."""


def _limited(read: Callable[[str], int], pattern: str, example: str) -> tuple[Any, Any]:
    """Build the annotations of a limit; ``unlimited`` is the kernel's 0."""

    def limit(text: str) -> int:
        value = 0 if text == _UNLIMITED else read(text)
        if value == 0 and text != _UNLIMITED:
            raise UnitError("DP0219", "`0` means unlimited to the kernel", f"write `{_UNLIMITED}`")
        return value

    return scalar(limit, rf"(?=.*[1-9])(?:{pattern})|{_UNLIMITED}", example=example)


SizeLimit: TypeAlias = Annotated[int, *_limited(units.read_bytes, SIZE, "128MiB")]
"""Bytes; 0 for unlimited."""
TimeLimit: TypeAlias = Annotated[int, *_limited(units.read_duration, TIME, "10ms")]
"""Microseconds; 0 for unlimited."""


class Module(Model):
    """One module; parameters that are left out keep their value on the machine."""

    enabled: Flag | None = None
    """Whether its kdamond runs; no other can run beside it."""

    def exact(self, module: str) -> dict[str, Fraction]:
        """Return the unrounded content of each given parameter's file."""
        found: dict[str, Fraction] = {}
        for name in filter(self.says, type(self).model_fields):
            unit = PARAMETERS[parameter_path(module, name)].unit
            found[name] = Fraction(getattr(self, name)) * _SCALES.get(unit, 1)
        return found

    def contents(self, module: str) -> dict[str, str]:
        """Return the content of each given parameter's file, by name in the model's order."""
        given = self.exact(module)
        if "addr_unit" in given:
            # addresses are counted in units, including those of parameters
            unit = max(given["addr_unit"], Fraction(1))
            given |= {name: given[name] / unit for name in REGION if name in given}
        return {
            name: ("N", "Y")[bool(value)]
            if isinstance(getattr(self, name), bool)
            else str(int(value))
            for name, value in given.items()
        }


class DamonStat(Module):
    """DAMON_STAT: it only counts; distributions switch it on from Linux 6.17 on."""


class _Working(Module):
    """The common parameters of the modules that act."""

    sample_interval: Duration | None = None
    """Time between two samples of a page."""
    aggr_interval: Duration | None = None
    """Time over which samples are added up."""
    autotune_monitoring_intervals: Flag | None = None
    """The kernel tunes both intervals, from 5ms and 100ms on, to observe 0.4%."""
    min_nr_regions: Count | None = None
    """The fewest regions to divide memory into; at least 3."""
    max_nr_regions: Count | None = None
    """The most regions to divide memory into."""
    monitor_region_start: Address | None = None
    """The first address to monitor; without both, the kernel chooses System RAM."""
    monitor_region_end: Address | None = None
    """The first address after it."""
    addr_unit: Count | None = None
    """A power of two that addresses are counted in, for 32-bit machines with much memory."""
    quota_ms: TimeLimit | None = None
    """The most time in each `quota_reset_interval_ms`, or `unlimited`."""
    quota_reset_interval_ms: Duration | None = None
    """The window of a quota."""
    wmarks_interval: Duration | None = None
    """How often to check the share of free memory."""
    wmarks_high: Percent | None = None
    """Asleep while more is free."""
    wmarks_mid: Percent | None = None
    """Awake once no more is free."""
    wmarks_low: Percent | None = None
    """Asleep while less is free."""


class DamonReclaim(_Working):
    """DAMON_RECLAIM: pages out idle memory."""

    min_age: Duration | None = None
    """The least idle time; counted in whole aggregations."""
    quota_sz: SizeLimit | None = None
    """The most memory in each `quota_reset_interval_ms`, or `unlimited`."""
    quota_mem_pressure_us: Duration | None = None
    """Tune the quota to this time of waiting for memory (PSI) in each interval; `0`: do not."""
    quota_autotune_feedback: Count | None = None
    """Tune the quota to a feedback of 10000, of which this is the current value; `0`: do not."""
    skip_anon: Flag | None = None
    """Leave anonymous pages alone."""


class DamonLruSort(_Working):
    """DAMON_LRU_SORT: sorts hot and cold pages into the kernel's LRU lists."""

    hot_thres_access_freq: Percent | None = None
    """The share of samples with an access from which on memory is hot."""
    cold_min_age: Duration | None = None
    """The least idle time of cold memory; counted in whole aggregations."""
    active_mem_bp: Percent | None = None
    """Tune the quota to this share of memory on the active list; `0`: do not."""
    filter_young_pages: Flag | None = None
    """Check again, page by page, whether it was accessed."""


class Modules(Model):
    """DAMON's own users in the kernel; only one of them can run, and no other kdamond beside it."""

    damon_stat: DamonStat | None = None
    """Counts accesses to all memory; it is on by default in many kernels."""
    damon_reclaim: DamonReclaim | None = None
    """Proactive reclaim."""
    damon_lru_sort: DamonLruSort | None = None
    """Proactive sorting of the kernel's lists."""

    def given(self) -> dict[str, Module]:
        """Return the modules that the policy mentions."""
        found = {name: self.known(name) for name in type(self).model_fields}
        return {name: each for name, each in found.items() if each is not None}
