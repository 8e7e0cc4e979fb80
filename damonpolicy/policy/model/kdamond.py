"""``kdamonds/N/`` and its one context: a kernel thread, its targets, and how it monitors them."""

from __future__ import annotations

from typing import Literal

from damonpolicy.policy.model.intervals import Intervals, RegionCount
from damonpolicy.policy.model.probes import Probe
from damonpolicy.policy.model.quotas import Weights
from damonpolicy.policy.model.sample import Accesses
from damonpolicy.policy.model.scalars import Count, Duration, Flag, Model, Name
from damonpolicy.policy.model.schemes import Scheme, When
from damonpolicy.policy.model.targets import Target

__all__ = ("Kdamond", "Temperature")


class Temperature(Weights):
    """Weights of temperature, in reports and under quotas without weights of their own."""


class Kdamond(Model):
    """One kdamond; the order of lists is the kernel's order."""

    name: Name
    """The name; the full name is POLICY/NAME."""
    when: When | None = None
    """Use this alternative only on a kernel that has, or lacks, a feature."""
    when_absent: Literal["fail", "wait"] = "fail"
    """If processes, cgroups or nodes that it names are missing: `fail`, or `wait` for them."""
    ops: Literal["vaddr", "fvaddr", "paddr"]
    """Addresses of processes (`vaddr`, or `fvaddr` for fixed ranges), or physical ones (`paddr`)."""
    targets: tuple[Target, ...] = ()
    """The memory to monitor; several entries of `paddr` are united."""
    accesses: Accesses | None = None
    """The accesses to count; all by default."""
    intervals: Intervals = Intervals()
    """How often to sample, and how long to add samples up."""
    region_count: RegionCount = RegionCount()
    """Bounds of the number of regions: accuracy against overhead."""
    probes: tuple[Probe, ...] = ()
    """Attributes of sampled pages to count; at most 4."""
    temperature: Temperature | None = None
    """Weights of temperature, in reports and under quotas without weights of their own."""
    schemes: tuple[Scheme, ...] = ()
    """The actions and the regions that they apply to; in the kernel's order."""
    refresh: Duration = 0
    """How often the kernel refreshes the statistics in its files; 0 means never."""
    commit_every: Duration = 500_000
    """The shortest time between two commits with which the service follows the machine."""
    addr_unit: Count = 1
    """Bytes per unit of address; only 32-bit machines with much memory need it."""
    paused: Flag = False
    """Keep the kdamond, but without monitoring and actions."""
