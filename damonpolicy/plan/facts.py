"""Filters, targets and counted accesses as values; `said` and `text` describe them in words.

The values are passed on and stored: a cgroup or process may have any name, so words cannot be
parsed back. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import approximate_bytes, format_bytes
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.directory import Numbered
from damonpolicy.kernel.damon.schema import row
from damonpolicy.kernel.damon.tree import CORE, Tree

__all__ = (
    "ALL",
    "Accesses",
    "Counted",
    "Filter",
    "Target",
    "accesses",
    "filters",
    "layers",
    "said",
    "target",
    "targets",
)


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter; ``low`` and ``high`` are its addresses, sizes or hits, ``low`` its target."""

    type: str
    matching: bool
    allow: bool
    path: str = ""
    low: int = 0
    high: int = 0

    @property
    def core(self) -> bool:
        """Whether it applies to whole regions, which are tried only if they pass it."""
        return self.type in CORE

    @property
    def text(self) -> str:
        """Its effect, in words."""
        verb = "allow" if self.allow else "reject"
        return f"{verb} {self._what}" if self.matching else f"{verb} what is not {self._what}"

    @property
    def _what(self) -> str:
        match self.type:
            case "memcg":
                return f"memcg {self.path}"
            case "addr":
                return f"addr {self.low:#x}-{self.high:#x}"
            case "target":
                return f"target {self.low}"
            case "hugepage_size":
                return f"hugepage_size {format_bytes(self.low)}-{format_bytes(self.high)}"
            case "probe_hits_wsum":
                return f"probe_hits_wsum {self.low}-{self.high}"
            case _:
                return self.type

    def below(self, other: Filter) -> bool:
        """Return whether it has the same effect, for a cgroup below the other's."""
        same = (self.type, self.matching, self.allow) == ("memcg", other.matching, other.allow)
        return same and other.type == "memcg" and self.path.startswith(f"{other.path}/")


Counted: TypeAlias = Literal["all", "reads", "writes", ""]


@dataclass(frozen=True, slots=True)
class Accesses:
    """Which accesses count, of some CPUs and threads; an early record does not tell the kind.

    CPUs and threads are listed as the kernel lists them, empty for all.
    """

    kind: Counted = "all"
    cpus: str = ""
    threads: str = ""
    faults: bool = False
    """Page faults report accesses, and all count."""

    @property
    def text(self) -> str:
        """The counted accesses, in words."""
        given = {"CPU": self.cpus, "thread": self.threads}
        conditions = [_some(what, which) for what, which in given.items() if which]
        kind = self.kind or "unknown"
        if conditions:
            return f"{kind} of {' and '.join(conditions)}"
        return f"{kind}, by page faults" if self.faults else kind


@dataclass(frozen=True, slots=True)
class Target:
    """What a kdamond monitors: a process, or regions of ``size_bytes`` in all.

    ``pid`` and ``regions`` are 0 for none, ``process`` is empty if its name is unknown. ``id`` is
    what old versions of damo record instead: an address of the kernel.
    """

    pid: int = 0
    process: str = ""
    size_bytes: int = 0
    regions: int = 0
    obsolete: bool = False
    id: int = 0

    @property
    def name(self) -> str:
        """Its name for people: the process, or the amount of memory."""
        if self.pid:
            return f"pid {self.pid} ({self.process})" if self.process else f"pid {self.pid}"
        return f"id {self.id}" if self.id else self._memory

    @property
    def text(self) -> str:
        """Everything known about it, in words."""
        parts = [f"pid {self.pid}"] if self.pid else []
        parts += [self._memory] if self.regions else []
        return ", ".join(parts) + (" (obsolete)" if self.obsolete else "")

    @property
    def _memory(self) -> str:
        if not self.regions:
            return ""
        count = f"{self.regions} region{'' if self.regions == 1 else 's'}"
        return f"{approximate_bytes(self.size_bytes)} in {count}"


ALL = Accesses()
"""All accesses, as page tables report them."""


def filters(tree: Tree, owner: str) -> tuple[Filter, ...]:
    """Return the filters of a scheme or probe, in the kernel's order."""
    return tuple(_filter(each) for layer in layers(tree, owner) for each in layer)


def layers(tree: Tree, owner: str) -> Iterable[Numbered[view.Filter] | Numbered[view.ProbeFilter]]:
    """Return the directories of filters of a scheme or probe, in the kernel's order."""
    scheme = view.Scheme(tree, owner)
    if row(scheme.action.path) is None:
        return (view.Probe(tree, owner).filters,)
    return scheme.core_filters, scheme.filters, scheme.ops_filters


def said(listed: Sequence[Filter]) -> str:
    """Describe the effect of filters in words; empty without filters.

    Filters that differ only in their cgroup, as a subtree makes them, are described once.
    """
    words: list[str] = []
    first: Filter | None = None
    below = 0
    for each in listed:
        if first is not None and each.below(first):
            below += 1
            words[-1] = f"{first.text} and {below} below it"
        else:
            words.append(each.text)
            first, below = each, 0
    if not words:
        return ""
    rest = "the rest is rejected" if listed[-1].allow else "the rest is taken"
    return "; ".join([*words, rest])


def accesses(tree: Tree) -> Accesses:
    """Return the counted accesses; each filter but the last rejects all but its kind."""
    kdamond = view.Kdamond(tree)
    early, sample = kdamond.early_accesses, kdamond.sample
    if early.use_reports.yes:
        return Accesses(
            "writes" if early.write_only.yes else "all", early.cpus.text, early.threads.text
        )
    if not sample.page_fault.yes:
        return ALL
    conditions = list(sample.filters)
    if not conditions:
        return Accesses(faults=True)
    kind: Counted = "all"
    cpus = threads = ""
    for each in conditions[:-1]:
        match each.type.text:
            case "write":
                kind = "reads" if each.matching.yes else "writes"
            case "cpumask":
                cpus = each.cpus.text
            case _:
                threads = each.threads.text
    return Accesses(kind, cpus, threads)


def target(tree: Tree, base: str) -> Target:
    """Return the target of a directory."""
    here = view.Target(tree, base)
    total = sum(each.end.number - each.start.number for each in here.regions if each.end.present)
    return Target(
        pid=here.pid.number,
        size_bytes=total * view.Kdamond(tree).addr_unit.number,
        regions=len(here.regions),
        obsolete=here.obsolete.yes,
    )


def targets(tree: Tree) -> tuple[Target, ...]:
    """Return the targets of a kdamond, in the kernel's order."""
    return tuple(target(tree, each.path) for each in view.Kdamond(tree).targets)


def _filter(each: view.Filter | view.ProbeFilter) -> Filter:
    kind, bounds = each.type.text, [each.min, each.max]
    if isinstance(each, view.Filter) and kind in ("addr", "target"):
        bounds = [each.start, each.end] if kind == "addr" else [each.target]
    return Filter(
        kind,
        each.matching.yes,
        each.allow.yes,
        each.memcg.text if kind == "memcg" else "",
        *(bound.number for bound in bounds if kind in (*CORE, "hugepage_size")),
    )


def _some(what: str, which: str) -> str:
    return f"{what} {which}" if which.isdecimal() else f"{what}s {which.replace(',', ', ')}"
