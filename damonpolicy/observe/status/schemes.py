"""Schemes of a kdamond and their statistics, from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from damonpolicy.kernel.damon.tree import asks_pages
from damonpolicy.kernel.damon.view import Kdamond, Scheme
from damonpolicy.observe.status.quotas import effective, goals, limits
from damonpolicy.observe.watermarks import of_scheme
from damonpolicy.plan.facts import filters

__all__ = ("schemes", "statistics")


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
