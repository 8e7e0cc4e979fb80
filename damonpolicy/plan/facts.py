"""Filters, targets and counted accesses as values; `said` and `text` describe them in words.

The values are passed on and stored: a cgroup or process may have any name, so words cannot be
parsed back. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import approximate_bytes, format_bytes
from damonpolicy.kernel.damon.tree import CORE, Tree

__all__ = (
    "ALL",
    "EARLY",
    "SAMPLE",
    "Accesses",
    "Filter",
    "Target",
    "accesses",
    "filters",
    "said",
    "target",
    "targets",
)

SAMPLE = "contexts/0/monitoring_attrs/sample"
EARLY = "contexts/0/operations_attrs"
_CONTEXT = "contexts/0"


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


@dataclass(frozen=True, slots=True)
class Accesses:
    """Which accesses count: ``all``, ``reads`` or ``writes``, of some CPUs and threads.

    CPUs and threads are listed as the kernel lists them, empty for all.
    """

    kind: str = "all"
    cpus: str = ""
    threads: str = ""
    faults: bool = False
    """Page faults report accesses, and all count."""

    @property
    def text(self) -> str:
        """The counted accesses, in words."""
        given = {"CPU": self.cpus, "thread": self.threads}
        conditions = [_some(what, which) for what, which in given.items() if which]
        if conditions:
            return f"{self.kind} of {' and '.join(conditions)}"
        return f"{self.kind}, by page faults" if self.faults else self.kind


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
    return tuple(_filter(tree, base) for base in _places(tree, owner))


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
    if tree.get(f"{EARLY}/use_reports") == "Y":
        kind = "writes" if tree.get(f"{EARLY}/write_only") == "Y" else "all"
        return Accesses(kind, tree.get(f"{EARLY}/cpus", ""), tree.get(f"{EARLY}/tids", ""))
    if tree.get(f"{SAMPLE}/primitives/page_fault") != "Y":
        return ALL
    count = int(tree.get(f"{SAMPLE}/filters/nr_filters", "0"))
    if not count:
        return Accesses(faults=True)
    kind, cpus, threads = "all", "", ""
    for index in range(count - 1):
        base = f"{SAMPLE}/filters/{index}"
        if tree.get(f"{base}/type") == "write":
            kind = "writes" if tree.get(f"{base}/matching") == "N" else "reads"
        elif tree.get(f"{base}/type") == "cpumask":
            cpus = tree.get(f"{base}/cpumask", "")
        else:
            threads = tree.get(f"{base}/tid_arr", "")
    return Accesses(kind, cpus, threads)


def target(tree: Tree, base: str) -> Target:
    """Return the target of a directory."""
    count = int(tree.get(f"{base}/regions/nr_regions", "0"))
    total = sum(
        int(tree[f"{base}/regions/{number}/end"]) - int(tree[f"{base}/regions/{number}/start"])
        for number in range(count)
        if f"{base}/regions/{number}/end" in tree
    )
    return Target(
        pid=int(tree.get(f"{base}/pid_target", "0")),
        size_bytes=total * int(tree.get(f"{_CONTEXT}/addr_unit", "1")),
        regions=count,
        obsolete=tree.get(f"{base}/obsolete_target") == "Y",
    )


def targets(tree: Tree) -> tuple[Target, ...]:
    """Return the targets of a kdamond, in the kernel's order."""
    count = int(tree.get(f"{_CONTEXT}/targets/nr_targets", "0"))
    return tuple(target(tree, f"{_CONTEXT}/targets/{index}") for index in range(count))


def _places(tree: Tree, owner: str) -> Iterator[str]:
    for layer in ("core_filters", "filters", "ops_filters"):
        for index in range(int(tree.get(f"{owner}/{layer}/nr_filters", "0"))):
            yield f"{owner}/{layer}/{index}"


def _filter(tree: Tree, base: str) -> Filter:
    kind = tree.get(f"{base}/type", "")
    names = {"addr": ("addr_start", "addr_end"), "target": ("damon_target_idx", "")}
    low, high = (int(tree.get(f"{base}/{name}", "0")) for name in names.get(kind, ("min", "max")))
    path = tree.get(f"{base}/memcg_path") or tree.get(f"{base}/path") or ""
    bounded = kind in (*CORE, "hugepage_size")
    return Filter(
        kind,
        tree.get(f"{base}/matching", "N") == "Y",
        tree.get(f"{base}/allow", "N") == "Y",
        path if kind == "memcg" else "",
        low if bounded else 0,
        high if bounded else 0,
    )


def _some(what: str, which: str) -> str:
    return f"{what} {which}" if which.isdecimal() else f"{what}s {which.replace(',', ', ')}"
