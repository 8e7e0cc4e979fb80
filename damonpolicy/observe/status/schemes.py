"""Schemes of a kdamond, their quotas, goals and statistics, from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Any

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import format_bytes, format_duration
from damonpolicy.kernel.damon.tree import asks_pages
from damonpolicy.kernel.damon.view import Kdamond, Quota, Scheme
from damonpolicy.observe.watermarks import of_scheme
from damonpolicy.plan.facts import filters
from damonpolicy.plan.show.texts import goal_text

__all__ = ("Goal", "Limits", "effective", "goal_words", "goals", "limits", "schemes", "statistics")

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


def goal_words(goal: Mapping[str, Any]) -> str:
    """Describe a goal, as `Goal.to_json` has it: its metric, its place, and how far it is."""
    metric = goal["metric"]
    where = "" if goal["node"] is None else f" of node {goal['node']}"
    where += f" for {goal['cgroup']}" if goal["cgroup"] else ""
    current = "" if goal["current"] is None else f"{goal_text(goal['current'], metric)} of "
    return f"goal {metric}{where}: {current}{goal_text(goal['target'], metric)}"


def schemes(
    kdamond: Kdamond, names: Mapping[str, str], *, asked: bool, free: int | None
) -> list[dict[str, Any]]:
    """Return the data of each scheme of a kdamond, as plain data.

    Files hold 0 until the first request to the kernel: unless the numbers were ``asked`` for just
    now, such zeros are unknown, which is None. ``free`` memory is in parts of 1000.
    """
    result = []
    for index, scheme in enumerate(kdamond.schemes):
        numbers, in_effect = statistics(scheme), effective(scheme.quota)
        known = asked or any(numbers.values())
        watch = of_scheme(scheme.watermarks, free) if kdamond.state.text == "on" else None
        result.append(
            {
                "name": names.get(scheme.path, str(index)),
                "action": scheme.action.text,
                "quota": asdict(quota) if (quota := limits(scheme.quota)) else None,
                "filters": [asdict(each) for each in filters(scheme.tree, scheme.path)],
                "watermarks": watch.to_json() if watch else None,
                "now": None,
                "asked": asked,
                "statistics": numbers if known else dict.fromkeys(numbers),
                "goals": [each.to_json() for each in goals(scheme.quota)],
                "effective_quota": in_effect if in_effect or asked else None,
            }
        )
    return result


def statistics(scheme: Scheme) -> dict[str, int | None]:
    """Return a scheme's statistics, by the kernel's names.

    Sizes are in bytes: the kernel counts in units of addresses (mm/damon/core.c:
    damos_apply_scheme()). Passed bytes are None without a page filter.
    """
    stats, unit = scheme.stats, Kdamond(scheme.tree).addr_unit.number
    passed = unit if asks_pages(scheme.tree, scheme.path) else None
    files = (
        (stats.nr_tried, 1),
        (stats.sz_tried, unit),
        (stats.nr_applied, 1),
        (stats.sz_applied, unit),
        (stats.sz_ops_filter_passed, passed),
        (stats.qt_exceeds, 1),
    )
    return {
        file.path.rpartition("/")[2]: None if times is None else file.number * times
        for file, times in files
        if file.present
    }
