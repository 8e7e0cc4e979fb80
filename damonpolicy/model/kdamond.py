"""``kdamonds/N/`` and its one context: a kernel thread, what it monitors, and how."""

from __future__ import annotations

from typing import Literal

from damonpolicy.model.intervals import Intervals, RegionCount
from damonpolicy.model.probes import Probe
from damonpolicy.model.quotas import Weights
from damonpolicy.model.sample import Accesses
from damonpolicy.model.scalars import Count, Duration, Flag, Model, Name
from damonpolicy.model.schemes import Scheme, When
from damonpolicy.model.targets import Target

__all__ = ("Kdamond", "Temperature")


class Temperature(Weights):
    """Who counts as hot, in reports and under quotas without weights of their own."""


class Kdamond(Model):
    """One kdamond; lists keep their order, which is the kernel's order."""

    name: Name
    """Known as POLICY/NAME."""
    when: When | None = None
    """Take this alternative only on a kernel that has, or has not, a feature."""
    when_absent: Literal["fail", "wait"] = "fail"
    """Without the processes, cgroups or nodes that it names: `fail`, or `wait` for them."""
    ops: Literal["vaddr", "fvaddr", "paddr"]
    """Addresses of processes (`vaddr`, or `fvaddr` for fixed ranges), or physical ones (`paddr`)."""
    targets: tuple[Target, ...] = ()
    """What is monitored; several entries of `paddr` are united."""
    accesses: Accesses | None = None
    """Which accesses count; without it all do."""
    intervals: Intervals = Intervals()
    """How often is looked, and for how long is summed up."""
    region_count: RegionCount = RegionCount()
    """Bounds of the number of regions: accuracy against overhead."""
    probes: tuple[Probe, ...] = ()
    """Attributes to count of the sampled pages; at most 4."""
    temperature: Temperature | None = None
    """Who counts as hot, in reports and under quotas without weights of their own."""
    schemes: tuple[Scheme, ...] = ()
    """What is done, with which regions; in the kernel's order."""
    refresh: Duration = 0
    """How often the kernel refreshes the statistics in its files; 0 is never."""
    commit_every: Duration = 500_000
    """The shortest time between two commits of the service that follow what came and went."""
    addr_unit: Count = 1
    """Bytes of one unit of address; only 32-bit machines with much memory need it."""
    paused: Flag = False
    """Keep the kdamond, but let it neither monitor nor act."""
