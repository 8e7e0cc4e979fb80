"""Limits, goals and effective value of a scheme's quota, from the kernel's files."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import format_bytes, format_duration
from damonpolicy.kernel.damon.view import Kdamond, Quota

__all__ = ("Goal", "Limits", "effective", "goals", "limits")

_SECOND = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a scheme per window; None is unlimited."""

    size_bytes: int | None
    time_ms: int | None
    every_ms: int

    @property
    def text(self) -> str:
        """Describe the limits, in the policy's units."""
        parts = [] if self.size_bytes is None else [format_bytes(self.size_bytes)]
        parts += [] if self.time_ms is None else [format_duration(self.time_ms * 1_000)]
        return f"{' and '.join(parts)} every {format_duration(self.every_ms * 1_000)}"


def limits(quota: Quota) -> Limits | None:
    """Return the limits of a scheme's quota, None if it has none."""
    size, time, every = quota.size.number, quota.time.number, quota.every.number
    return Limits(size or None, time or None, every) if every and (size or time) else None


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of a scheme's quota; values are in the unit of its metric.

    ``current`` is the last value from user space, None if the kernel measures by itself; it is not
    part of a goal's identity. ``window`` is the kernel's measuring interval in milliseconds.
    """

    metric: str
    target: int
    current: int | None = field(compare=False)
    node: int
    cgroup: str
    complement: bool
    window: int

    def to_json(self) -> dict[str, Any]:
        """Plain data, with a node or cgroup if the metric has one."""
        return {
            "metric": self.metric,
            "target": self.target,
            "current": self.current,
            "node": self.node if self.metric.startswith("node_") else None,
            "cgroup": self.cgroup or None,
            "complement": self.complement,
        }


def goals(quota: Quota) -> list[Goal]:
    """Return the goals of a scheme's quota."""
    return [
        Goal(
            metric=each.metric.text,
            target=each.target.number,
            current=each.current.number if each.metric.text == "user_input" else None,
            node=each.node.number,
            cgroup=each.cgroup.text,
            complement=each.complement.yes,
            window=quota.every.number or _SECOND,
        )
        for each in quota.goals
    ]


def effective(quota: Quota) -> int | None:
    """Return the effective quota in bytes, as last reported by the kernel; None if it does not.

    The kernel counts in units of addresses (mm/damon/core.c: damos_set_effective_quota()).
    """
    file = quota.effective_bytes
    return file.number * Kdamond(quota.tree).addr_unit.number if file.present else None
