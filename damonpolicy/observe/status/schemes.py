"""Schemes of a kdamond and their statistics, from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from damonpolicy.kernel.damon.tree import Tree, asks_pages
from damonpolicy.observe.status.quotas import effective, goals, limits
from damonpolicy.observe.watermarks import of_scheme
from damonpolicy.plan.facts import filters

__all__ = ("schemes", "statistics")

_CONTEXT = "contexts/0"
_PASSED = "sz_ops_filter_passed"
_STATISTICS = (
    "nr_tried",
    "sz_tried",
    "nr_applied",
    "sz_applied",
    _PASSED,
    "qt_exceeds",
)


def schemes(
    tree: Tree, names: Mapping[str, str], *, asked: bool, free: int | None
) -> list[dict[str, Any]]:
    """Return the data of each scheme in a slot's tree, as plain data.

    Files hold 0 until the first request to the kernel: unless the numbers were ``asked`` for just
    now, such zeros are unknown, which is None. ``free`` memory is in parts of 1000.
    """
    result = []
    for index in range(int(tree.get(f"{_CONTEXT}/schemes/nr_schemes", "0"))):
        base = f"{_CONTEXT}/schemes/{index}"
        numbers, in_effect = statistics(tree, base), effective(tree, base)
        known = asked or any(numbers.values())
        watch = of_scheme(tree, base, free) if tree.get("state") == "on" else None
        result.append(
            {
                "name": names.get(base, str(index)),
                "action": tree.get(f"{base}/action", ""),
                "quota": asdict(quota) if (quota := limits(tree, base)) else None,
                "filters": [asdict(each) for each in filters(tree, base)],
                "watermarks": watch.to_json() if watch else None,
                "now": None,
                "asked": asked,
                "statistics": numbers if known else dict.fromkeys(numbers),
                "goals": [each.to_json() for each in goals(tree, base)],
                "effective_quota": in_effect if in_effect or asked else None,
            }
        )
    return result


def statistics(tree: Tree, scheme: str) -> dict[str, int | None]:
    """Return a scheme's statistics, by the kernel's names; its directory is given.

    Sizes are in bytes: the kernel counts in units of addresses (mm/damon/core.c:
    damos_apply_scheme()). Passed bytes are None without a page filter.
    """
    unit = int(tree.get(f"{_CONTEXT}/addr_unit", "1"))
    found: dict[str, int | None] = {
        name: int(tree[f"{scheme}/stats/{name}"]) * (unit if name.startswith("sz_") else 1)
        for name in _STATISTICS
        if f"{scheme}/stats/{name}" in tree
    }
    if _PASSED in found and not asks_pages(tree, scheme):
        found[_PASSED] = None
    return found
