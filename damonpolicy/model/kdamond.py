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
    when: When | None = None
    when_absent: Literal["fail", "wait"] = "fail"
    ops: Literal["vaddr", "fvaddr", "paddr"]
    targets: tuple[Target, ...] = ()
    accesses: Accesses | None = None
    intervals: Intervals = Intervals()
    region_count: RegionCount = RegionCount()
    probes: tuple[Probe, ...] = ()
    temperature: Temperature | None = None
    schemes: tuple[Scheme, ...] = ()
    refresh: Duration = 0
    addr_unit: Count = 1
    paused: Flag = False
