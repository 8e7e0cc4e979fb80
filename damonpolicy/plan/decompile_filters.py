"""Filters of schemes and probes back to the policy language."""

from __future__ import annotations

from typing import Any

from damonpolicy.kernel.cgroups import subtree
from damonpolicy.plan.decompiled import Decompiled
from damonpolicy.units import format_bytes

__all__ = ("listed",)

_OWN = {
    "memcg": ("memcg_path", "path"),
    "addr": ("addr_start", "addr_end"),
    "target": ("damon_target_idx",),
    "hugepage_size": ("min", "max"),
    "probe_hits_wsum": ("min", "max"),
}
"""The files that say what a filter is, by its type."""


def listed(found: Decompiled, *directories: str, probe: bool = False) -> list[dict[str, Any]]:
    """Return the filters of directories as one list.

    Where one filter for each cgroup of a subtree stands, the path alone says so.
    """
    result: list[dict[str, Any]] = []
    for directory in directories:
        count = found.number(f"{directory}/nr_filters")
        index = 0
        while index < count:
            here = f"{directory}/{index}"
            taken = _subtree(found, directory, index, count, probe=probe)
            path = found.text(f"{here}/{'path' if probe else 'memcg_path'}")
            result.append(_filter(found, here, path, whole=taken > 1))
            index += max(taken, 1)
    return result


def _subtree(found: Decompiled, directory: str, index: int, count: int, *, probe: bool) -> int:
    """Return how many filters from one on are a whole subtree in our order; else 0."""
    if found.machine is None or found.text(f"{directory}/{index}/type") != "memcg":
        return 0
    name = "path" if probe else "memcg_path"

    def key(number: int) -> tuple[str, ...]:
        files = ("type", "matching", "allow")
        return tuple(found.text(f"{directory}/{number}/{each}") for each in files)

    if key(index)[1] != "Y":
        return 0
    wanted = subtree(found.machine, found.text(f"{directory}/{index}/{name}"))
    there = [
        found.text(f"{directory}/{number}/{name}")
        for number in range(index, min(index + len(wanted), count))
        if key(number) == key(index)
    ]
    return len(wanted) if wanted == there else 0


def _filter(found: Decompiled, here: str, path: str, *, whole: bool) -> dict[str, Any]:
    kind = found.text(f"{here}/type")
    what: Any = kind
    if kind == "memcg":
        what = {"memcg": path if whole else {"path": path, "subtree": False}}
    elif kind == "addr":
        start, end = (found.number(f"{here}/addr_{name}") for name in ("start", "end"))
        what = {"addr": {"start": f"{start:#x}", "end": f"{end:#x}"}}
    elif kind == "target":
        what = {"target": found.number(f"{here}/damon_target_idx")}
    elif kind in ("hugepage_size", "probe_hits_wsum"):
        low, high = (found.number(f"{here}/{name}") for name in ("min", "max"))
        sizes = kind == "hugepage_size"
        what = {
            kind: {
                "min": format_bytes(low) if sizes else low,
                "max": format_bytes(high) if sizes else high,
            }
        }
    for name in ("memcg_path", "path", "addr_start", "addr_end", "damon_target_idx", "min", "max"):
        if name not in _OWN.get(kind, ()):
            found.remark(f"{here}/{name}", f"the kernel ignores it for the type `{kind}`")
    if found.text(f"{here}/matching") != "Y":
        what = {"not": what}
    return {"allow" if found.text(f"{here}/allow") == "Y" else "reject": what}
