"""Decompilation of filters of schemes and probes to the policy language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.kernel.damon.view import Filter, ProbeFilter, Scheme
from damonpolicy.kernel.system.cgroups import so_named, subtree
from damonpolicy.policy.compile.filters import arguments
from damonpolicy.policy.compile.plain import key_of, keys
from damonpolicy.policy.importer.result import Decompiled

__all__ = ("listed", "of_scheme")

AnyFilter: TypeAlias = Filter | ProbeFilter


def of_scheme(found: Decompiled, scheme: Scheme) -> dict[str, Any]:
    """Return what a policy says of a scheme's filters, in its order.

    The kernel reads core filters, page-level ones, then ``filters/``, and applies core filters
    first, wherever they are. If that moves a filter to another directory, a remark gives the
    reason.
    """
    core, pages, own = scheme.core_filters, scheme.ops_filters, scheme.filters
    everything = [*core, *pages, *own]
    layered = core.count.present
    together = layered and 0 < len(own) == len(everything)
    if layered and len(own) and not together:
        why = (
            "a policy's filters are in `filters`, or in `core_filters` and `ops_filters`;"
            " what they decide stays the same"
        )
        found.remark(why, own, core, pages)
    if not all(map(_is_core, core)) or any(map(_is_core, pages)):
        why = "`core_filters` is for `addr`, `target` and `probe_hits_wsum`, `ops_filters` for the rest"
        found.remark(why, core, pages)
    if not _takes_order(everything):
        why = "the kernel asks filters of its core first, and a policy lists them first"
        found.remark(why, own)
        everything.sort(key=lambda each: not _is_core(each))
    result: dict[str, Any] = {"filters_in": "filters"} if together else {}
    if said := listed(found, everything):
        result["filters"] = said
    spares = scheme.action.text == "pageout" and found.data["ops"] == "paddr"
    if spares and not any(each.type.text == "young" for each in everything):
        result["young"] = "last"
    return result


def _is_core(here: AnyFilter) -> bool:
    return here.type.text in CORE


def _takes_order(filters: Sequence[AnyFilter]) -> bool:
    """Return whether a policy accepts filters in this order (rule DP0214)."""
    core = [_is_core(each) for each in filters]
    last = max((index for index, each in enumerate(core) if each), default=-1)
    allowing = any(each.allow.yes for each in filters[: last + 1])
    return all(core[: last + 1]) or not allowing


def listed(found: Decompiled, filters: Sequence[AnyFilter]) -> list[dict[str, Any]]:
    """Return the filters of some directories as one list.

    One filter for each cgroup of a subtree becomes the path alone.
    """
    result: list[dict[str, Any]] = []
    index = 0
    while index < len(filters):
        taken = _subtree(found, filters[index:])
        result.append(_filter(found, filters[index], whole=taken > 1))
        index += max(taken, 1)
    return result


def _subtree(found: Decompiled, filters: Sequence[AnyFilter]) -> int:
    """Return how many of the first filters form a whole subtree in our order; 0 if none do."""
    first = filters[0]
    if found.machine is None or first.type.text != "memcg" or not first.matching.yes:
        return 0

    def key(each: AnyFilter) -> tuple[str, ...]:
        return each.type.text, each.matching.text, each.allow.text

    wanted = subtree(found.machine, so_named(first.memcg.text))
    there = [each.memcg.text for each in filters[: len(wanted)] if key(each) == key(first)]
    return len(wanted) if wanted == there else 0


def _filter(found: Decompiled, here: AnyFilter, *, whole: bool) -> dict[str, Any]:
    kind, files_of = here.type.text, arguments(here)
    own = files_of.get(kind, ())
    what: Any = kind
    if kind == "memcg":
        path = here.memcg.text
        named = so_named(path)
        what = {kind: named if whole else {"path": named, "subtree": False}}
        if path != f"/{path.strip('/')}":
            found.remark("the kernel's paths of cgroups do not end in `/`", here.memcg)
    elif kind == "probe_hits_wsum":
        what = {kind: {key_of(each): each.number for each in own}}
    elif own:
        said = keys(*own)
        what = said if kind in said else {kind: said}
    for files in files_of.values():
        if files != own:
            found.remark(f"the kernel ignores it for the type `{kind}`", *files)
    if not here.matching.yes:
        what = {"not": what}
    return {"allow" if here.allow.yes else "reject": what}
