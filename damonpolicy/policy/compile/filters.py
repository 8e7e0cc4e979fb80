"""Compilation of a policy's filters: layers, order, subtrees, words of older kernels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from damonpolicy.base.units import U64_MAX
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.schema import LAYERS
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.kernel.system.cgroups import subtree
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import FilterLine
from damonpolicy.policy.compile.plain import key_of
from damonpolicy.policy.model.filters import Filter, Match, Memcg

__all__ = ("YOUNG", "arguments", "asked_of_pages", "lines", "probe_lines", "spare_young", "split")


def arguments(own: view.Filter | view.ProbeFilter) -> dict[str, tuple[File, ...]]:
    """Return the files with the arguments of a filter, by its type."""
    bounds = (own.min, own.max)
    result: dict[str, tuple[File, ...]] = {"memcg": (own.memcg,), "hugepage_size": bounds}
    if isinstance(own, view.Filter):
        result |= {"addr": (own.start, own.end), "target": (own.target,), "probe_hits_wsum": bounds}
    return result


_OWN = view.Kdamond().schemes[0].filters[0]
_ARGUMENTS = arguments(_OWN)
_UNUSED = {each.name: each.text for each in chain(*_ARGUMENTS.values())}
"""Also written, to reset the values of a filter of another type in the same place."""

YOUNG = FilterLine({**_UNUSED, "type": "young", "matching": "Y", "allow": "N"})


def lines(
    filters: Sequence[Filter], capabilities: Capabilities, machine: Machine | None
) -> list[FilterLine]:
    """Return the kernel's filters in the policy's order.

    Before 6.14 kernels only reject (commit "mm/damon/sysfs-schemes: implement filters' allow
    file"): a last `allow` then means `reject not`, since unmatched pages are allowed there.
    """
    result = [_line(each, last=each is filters[-1]) for each in filters]
    if capabilities.has("filter.allow") or not result:
        return result
    last = result[-1]
    several = last.subtree and machine and len(subtree(machine, last.files[last.path_file])) > 1
    if last.files["allow"] == "Y" and not several:
        result[-1] = _refused(last)
    return result


def asked_of_pages(filters: Sequence[FilterLine], capabilities: Capabilities) -> list[FilterLine]:
    """Replace `reject not` of addresses by what lies around them, if `not` rejects all.

    Kernels that only reject apply all filters to single pages of physical memory, including core
    filters, which match no page there, so that a negated one rejects every page (mm/damon/paddr.c:
    __damos_pa_filter_out(); seen on 6.12). Physical memory is one target: it is always matched.
    """
    if capabilities.has("filter.allow"):
        return list(filters)
    result = []
    for line in filters:
        kind, negated = line.files["type"], line.files["matching"] == "N"
        if kind not in CORE or not negated:
            result.append(line)
        elif kind == "addr":
            start, end = (int(line.files[each.name]) for each in (_OWN.start, _OWN.end))
            for low, high in ((0, start), (end, U64_MAX)):
                if low < high:
                    ends = {_OWN.start.name: str(low), _OWN.end.name: str(high)}
                    result.append(FilterLine({**line.files, **ends, "matching": "Y"}))
    return result


def spare_young(filters: Sequence[FilterLine]) -> list[FilterLine]:
    """Reject young pages before a scheme's page filters, without allowing more memory.

    The kernel appends that filter itself (mm/damon/paddr.c: damon_pa_pageout()), where an `allow`
    hides it. But once there is a page filter, a core `allow` at the end no longer rejects the rest
    (mm/damon/core.c: damos_set_filters_default_reject()): it becomes `reject not`, which means the
    same. Several `allow` filters cannot be expressed that way, so no page filter may be added.
    """
    core = [line for line in filters if line.files["type"] in CORE]
    pages = [line for line in filters if line.files["type"] not in CORE]
    allowing = [line for line in core if line.files["allow"] == "Y"]
    if allowing and not pages:
        if allowing != core[-1:]:
            return core
        core[-1] = _refused(core[-1])
    return [*core, YOUNG, *pages]


def _refused(line: FilterLine) -> FilterLine:
    """Return the filter that rejects everything an `allow` does not match."""
    files = {**line.files, "allow": "N", "matching": _opposite(line.files["matching"])}
    return FilterLine(files, subtree=False, path_file=line.path_file)


def _opposite(flag: str) -> str:
    return "N" if flag == "Y" else "Y"


def _line(each: Filter, *, last: bool) -> FilterLine:
    inner = each.inner
    files = {
        **_UNUSED,
        "type": each.type,
        "matching": "N" if each.negated else "Y",
        "allow": "Y" if each.verb == "allow" else "N",
    }
    if not isinstance(inner, Match):
        return FilterLine(files)
    if inner.memcg is not None:
        whole = not isinstance(inner.memcg, Memcg) or inner.memcg.subtree
        path = inner.memcg.where if isinstance(inner.memcg, Memcg) else inner.memcg
        files[_OWN.memcg.name] = path
        if whole and each.negated and last:
            # "reject not any of these" at the end: allow each, and the default rejects the rest
            files["matching"], files["allow"] = "Y", _opposite(files["allow"])
        return FilterLine(files, subtree=whole)
    for file in _ARGUMENTS.get(each.type, ()):
        found = getattr(inner, each.type)
        files[file.name] = str(getattr(found, key_of(file), found))
    return FilterLine(files)


def split(
    filters: Sequence[FilterLine], capabilities: Capabilities, *, together: bool = False
) -> dict[str, tuple[FilterLine, ...]]:
    """Return the kernel's filter directories; ``together`` uses the one that all kernels have.

    From 6.15 core and page-level filters have directories of their own and ``filters/`` stays empty
    (commit "mm/damon/sysfs-schemes: implement core_filters and ops_filters"). Within one directory
    the order is the policy's: the kernel separates them by type.
    """
    core = tuple(line for line in filters if line.files["type"] in CORE)
    pages = tuple(line for line in filters if line.files["type"] not in CORE)
    if together and capabilities.has("filters.layers"):
        return {"filters": tuple(filters), **dict.fromkeys(LAYERS, ())}
    if capabilities.has("filters.layers"):
        return {"filters": (), **dict(zip(LAYERS, (core, pages), strict=True))}
    return {"filters": tuple(filters)}


def probe_lines(filters: Sequence[Filter]) -> tuple[FilterLine, ...]:
    """Return a probe's filters; their file for the cgroup has a name of its own."""
    result, cgroup = [], view.ProbeFilter().memcg.name
    for each in filters:
        line = _line(each, last=each is filters[-1])
        files = {name: line.files[name] for name in ("type", "matching", "allow", "min", "max")}
        files[cgroup] = line.files[_OWN.memcg.name]
        result.append(FilterLine(files, line.subtree, cgroup))
    return tuple(result)
