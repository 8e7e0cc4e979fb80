"""Decompilation of filters of schemes and probes to the policy language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from damonpolicy.base.units import format_bytes
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.kernel.system.cgroups import so_named, subtree
from damonpolicy.policy.importer.result import Decompiled

__all__ = ("listed", "of_scheme", "places")

_OWN = {
    "memcg": ("memcg_path", "path"),
    "addr": ("addr_start", "addr_end"),
    "target": ("damon_target_idx",),
    "hugepage_size": ("min", "max"),
    "probe_hits_wsum": ("min", "max"),
}
"""The files with the arguments of a filter, by its type."""


def places(found: Decompiled, *directories: str) -> list[str]:
    """Return the directories of the single filters."""
    return [
        f"{directory}/{index}"
        for directory in directories
        for index in range(found.number(f"{directory}/nr_filters"))
    ]


def of_scheme(found: Decompiled, base: str) -> tuple[list[dict[str, Any]], bool]:
    """Return a scheme's filters in a policy's order, and whether all are in ``filters/``.

    The kernel reads core filters, page-level ones, then ``filters/``, and applies core filters
    first, wherever they are. If that moves a filter to another directory, a remark gives the
    reason.
    """
    own, layers = f"{base}/filters", (f"{base}/core_filters", f"{base}/ops_filters")
    here, split = places(found, own), {layer: places(found, layer) for layer in layers}
    layered = f"{layers[0]}/nr_filters" in found.tree
    everything = [*(place for each in split.values() for place in each), *here]
    together = layered and bool(here) and everything == here
    if layered and here and not together:
        why = (
            "a policy's filters are in `filters`, or in `core_filters` and `ops_filters`;"
            " what they decide stays the same"
        )
        for each in (own, *layers):
            found.remark(each, why)
    for layer, core in zip(layers, (True, False), strict=True):
        if any(_is_core(found, place) != core for place in split[layer]):
            why = "`core_filters` is for `addr`, `target` and `probe_hits_wsum`, `ops_filters` for the rest"
            for each in layers:
                found.remark(each, why)
    if not _takes_order(found, everything):
        found.remark(
            own, "the kernel asks filters of its core first, and a policy lists them first"
        )
        everything.sort(key=lambda place: not _is_core(found, place))
    return listed(found, everything), together


def _is_core(found: Decompiled, place: str) -> bool:
    return found.text(f"{place}/type") in CORE


def _takes_order(found: Decompiled, listed_: Sequence[str]) -> bool:
    """Return whether a policy accepts filters in this order (rule DP0214)."""
    core = [_is_core(found, place) for place in listed_]
    last = max((index for index, each in enumerate(core) if each), default=-1)
    allowing = any(found.text(f"{place}/allow") == "Y" for place in listed_[: last + 1])
    return all(core[: last + 1]) or not allowing


def listed(
    found: Decompiled, filters: Sequence[str], *, probe: bool = False
) -> list[dict[str, Any]]:
    """Return the filters of some directories as one list.

    One filter for each cgroup of a subtree becomes the path alone.
    """
    result: list[dict[str, Any]] = []
    index = 0
    while index < len(filters):
        here = filters[index]
        taken = _subtree(found, filters[index:], probe=probe)
        path = found.text(f"{here}/{'path' if probe else 'memcg_path'}")
        result.append(_filter(found, here, path, whole=taken > 1))
        index += max(taken, 1)
    return result


def _subtree(found: Decompiled, filters: Sequence[str], *, probe: bool) -> int:
    """Return how many of the first filters form a whole subtree in our order; 0 if none do."""
    if found.machine is None or found.text(f"{filters[0]}/type") != "memcg":
        return 0
    name = "path" if probe else "memcg_path"

    def key(place: str) -> tuple[str, ...]:
        files = ("type", "matching", "allow")
        return tuple(found.text(f"{place}/{each}") for each in files)

    if key(filters[0])[1] != "Y":
        return 0
    wanted = subtree(found.machine, so_named(found.text(f"{filters[0]}/{name}")))
    there = [
        found.text(f"{place}/{name}")
        for place in filters[: len(wanted)]
        if key(place) == key(filters[0])
    ]
    return len(wanted) if wanted == there else 0


def _filter(found: Decompiled, here: str, path: str, *, whole: bool) -> dict[str, Any]:
    kind = found.text(f"{here}/type")
    what: Any = kind
    if kind == "memcg":
        named = so_named(path)
        what = {"memcg": named if whole else {"path": named, "subtree": False}}
        for name in ("memcg_path", "path"):
            if path != f"/{path.strip('/')}":
                found.remark(f"{here}/{name}", "the kernel's paths of cgroups do not end in `/`")
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
