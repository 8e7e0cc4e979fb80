"""Cgroups and nodes that a kdamond names and the machine lacks for now.

The kernel refuses a missing path whenever it takes a configuration (ENOMEM; 6.12 ends the kdamond),
and a goal on a missing node crashes 6.16 to 6.19. So neither is handed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.directory import Numbered
from damonpolicy.kernel.damon.schema import row
from damonpolicy.kernel.damon.tree import CORE, Tree
from damonpolicy.kernel.damon.view import Filter, Goal, ProbeFilter, Scheme
from damonpolicy.kernel.system import numa
from damonpolicy.kernel.system.cgroups import has_memory, is_pattern, matching, subtree
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import CompiledKdamond, FilterLine

__all__ = ("Lack", "cgroups_of_filters", "lacks", "without", "without_gone")

Filters = Mapping[str, tuple[FilterLine, ...]]


@dataclass(frozen=True, slots=True)
class Lack:
    """A missing thing, in words, and the part of the kdamond that names it."""

    what: str
    message: str
    part: str
    code: str

    @classmethod
    def cgroup(cls, path: str, part: str) -> Lack:
        """Return the `Lack` of a cgroup whose memory counts."""
        if is_pattern(path):
            return cls(f"a cgroup like `{path}`", f"no cgroup matches `{path}`", part, "DP0303")
        gone = f"the cgroup `{path}` is gone, or the memory controller does not count for it"
        return cls(f"the cgroup `{path}`", gone, part, "DP0303")


def lacks(kdamond: CompiledKdamond, machine: Machine) -> Iterator[Lack]:
    """Yield the missing needs of goals and destinations."""
    online: tuple[int, ...] | None = None
    for path, value in kdamond.files.items():
        found, part, node = row(path), path.rpartition("/")[0], -1
        match found.ours if found else "":
            case "quota.goals.cgroup" if value and not has_memory(machine, value):
                yield Lack.cgroup(value, part)
            case "quota.goals.node":
                if Goal(kdamond.files, part).metric.text.startswith("node_"):
                    node = int(value)
            case "to" | "to.node":
                node = int(value)
        if node >= 0:
            online = numa.nodes(machine) if online is None else online
            if node not in online:
                yield Lack(f"node {node}", f"there is no node {node}", part, "DP0301")


def cgroups_of_filters(kdamond: CompiledKdamond, machine: Machine) -> dict[str, str]:
    """Return the missing cgroups of filters, with the first directory that names each.

    To the kernel, a cgroup without the memory controller is missing.
    """
    found: dict[str, str] = {}
    for directory, lines in kdamond.filters.items():
        for line in lines:
            path = line.path
            if not path or has_memory(machine, path):
                continue
            there = subtree(machine, path) if line.subtree else matching(machine, path)
            if not (there if line.subtree or is_pattern(path) else ()):
                found.setdefault(path, directory)
    return found


def without(filters: Filters, gone: Collection[str]) -> dict[str, tuple[FilterLine, ...]] | None:
    """Leave out the filters on missing cgroups; None if that would change the meaning.

    Unmatched memory gets the opposite of the last filter. So without its last `allow` a list would
    allow everything, and no list means "nothing".
    """
    result = dict(filters)
    for base in {directory.rpartition("/")[0] for directory in filters}:
        mine = {name: lines for name, lines in filters.items() if name.rpartition("/")[0] == base}
        left, decided = _left(mine, gone)
        if left != mine and _rest(left) != (_rest(mine) if decided is None else decided):
            return None
        result |= left
    return result


def without_gone(tree: Tree, machine: Machine) -> dict[str, str]:
    """Return a slot's tree without its filters on missing cgroups.

    If that would change the meaning, the tree stays as it is.
    """
    filters, gone = {}, set()
    for counter in [path for path in tree if path.endswith(Scheme().filters.count.path)]:
        here, lines = Numbered(tree, counter.rpartition("/")[0], Filter), []
        for each in here:
            prefix = each.below("")
            files = {p.removeprefix(prefix): v for p, v in tree.items() if p.startswith(prefix)}
            memcg = each.memcg if each.memcg.present else ProbeFilter(tree, each.path).memcg
            line = FilterLine(files, path_file=memcg.path.removeprefix(prefix))
            if line.path and each.type.text == "memcg" and not has_memory(machine, line.path):
                gone.add(line.path)
            lines.append(line)
        filters[here.path] = tuple(lines)
    less = without(filters, gone) if gone else None
    if less is None:
        return dict(tree)
    inside = tuple(f"{directory}/" for directory in filters)
    left = {path: value for path, value in tree.items() if not path.startswith(inside)}
    for directory, kept in less.items():
        left |= Numbered({}, directory, Filter).listing([line.files for line in kept])
    return left


def _left(
    filters: Filters, gone: Collection[str]
) -> tuple[dict[str, tuple[FilterLine, ...]], bool | None]:
    """Return the remaining filters, and whether the list's end allows the rest.

    All memory is "not of a cgroup" that is missing: filters after such a one never apply.
    """
    left: dict[str, tuple[FilterLine, ...]] = {}
    decided: bool | None = None
    for directory, lines in filters.items():
        kept = []
        for line in lines:
            if decided is not None and line.filter.type.text not in CORE:
                continue
            if line.path not in gone:
                kept.append(line)
            elif not line.filter.matching.yes:
                decided = line.filter.allow.yes
        left[directory] = tuple(kept)
    return left, decided


def _rest(filters: Filters) -> bool:
    """Return whether unmatched memory is allowed (damos_set_filters_default_reject())."""
    lines = [line for each in filters.values() for line in each]
    pages = [line for line in lines if line.filter.type.text not in CORE]
    return not lines or not (pages or lines)[-1].filter.allow.yes
