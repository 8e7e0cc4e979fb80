"""DAMON's tree as plain data: snapshots, what is volatile, digests.

A `Tree` maps paths below ``…/damon/admin/kdamonds`` to contents without the final
newline: ``{"nr_kdamonds": "8", "0/state": "off", "0/contexts/nr_contexts": "1", …}``.
The tree of one slot has paths below that slot: ``contexts/0/operations``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.schema import COUNTS, NUMBERS, default, row
from damonpolicy.kernel.damon.view import Goal, Intervals, Kdamond, Kdamonds, Scheme
from damonpolicy.kernel.system.machine import KDAMONDS, Machine, read_value

__all__ = (
    "CORE",
    "Tree",
    "asks_pages",
    "cgroup_paths",
    "check_numbers",
    "configuration",
    "count_of",
    "differing",
    "digest",
    "empty_slot",
    "fed",
    "held",
    "is_volatile",
    "kdamond_path",
    "slot_numbers",
    "slot_tree",
    "snapshot",
    "startable",
    "under",
)

Tree: TypeAlias = Mapping[str, str]

CORE = ("addr", "target", "probe_hits_wsum")
"""Types of filters that DAMON's core evaluates before single pages."""

_SKIPPED = (Scheme().tried_regions.path, Kdamond().available_ops.path.rpartition("/")[2])
"""What tells of monitoring, or never changes."""


def snapshot(machine: Machine, *, slots: Collection[int] | None = None) -> dict[str, str]:
    """Read the tree without monitoring results: all of it, or the number of slots and some slots.

    Reading holds no lock: if directories vanish meanwhile, they are read again.

    Raises OSError where DAMON is missing (ENOENT) or may not be read (EACCES).
    """
    for left in reversed(range(_TRIES)):
        tree: dict[str, str] = {}
        try:
            if slots is None:
                _read_directory(machine, "", tree)
            else:
                count = Kdamonds(tree).count
                tree[count.path] = read_value(machine, f"{KDAMONDS}/{count.path}")
                for slot in slots:
                    if slot < count.number:
                        _read_directory(machine, str(slot), tree)
        except FileNotFoundError:
            if not left or not machine.exists(KDAMONDS):
                raise
        else:
            return tree
    raise AssertionError  # the last try has returned or raised


_TRIES = 20
"""The number of attempts to read a tree that someone is changing."""


def _read_directory(machine: Machine, below: str, tree: dict[str, str]) -> None:
    for name, is_dir in machine.scan(f"{KDAMONDS}/{below}".rstrip("/")):
        if name in _SKIPPED:
            continue
        path = f"{below}/{name}" if below else name
        if is_dir:
            _read_directory(machine, path, tree)
        else:
            tree[path] = read_value(machine, f"{KDAMONDS}/{path}")


def kdamond_path(slot: int, path: str = "") -> str:
    """Return the absolute path of a kdamond's file."""
    return f"{KDAMONDS}/{slot}/{path}".rstrip("/")


def slot_numbers(tree: Tree) -> list[int]:
    """Return the numbers of the kdamond directories."""
    return list(range(len(Kdamonds(tree))))


def slot_tree(tree: Tree, slot: int) -> dict[str, str]:
    """Return the tree of one kdamond directory."""
    prefix = f"{slot}/"
    return {
        path.removeprefix(prefix): value for path, value in tree.items() if path.startswith(prefix)
    }


def is_volatile(path: str, tree: Tree) -> bool:
    """Return whether the kernel changes a file by itself; ``path`` and ``tree`` are a slot's.

    While intervals are tuned, ``update_tuned_intervals`` and refresh_ms write the tuned
    ones into the files (mm/damon/sysfs.c: damon_sysfs_upd_tuned_intervals()); tuning is
    on with a number of aggregations (mm/damon/core.c: kdamond_fn()).
    """
    found = row(path)
    if found is None or not found.volatile:
        return False
    directory = path.rpartition("/")[0]
    if found.volatile == "tuned":
        return Intervals(tree, directory).auto_tune.aggregations.text != "0"
    if found.volatile == "fed":
        return Goal(tree, directory).metric.text == "user_input"
    return True


def configuration(tree: Tree) -> dict[str, str]:
    """Return a slot's tree without volatile files."""
    return {path: value for path, value in tree.items() if not is_volatile(path, tree)}


def fed(tree: Tree, goals: Tree) -> dict[str, str]:
    """Return the values of a slot's fed goals that a tree has, too.

    They are volatile; but if a count makes the goals again, they have to be written again.
    """
    return {
        path: value
        for path, value in tree.items()
        if (found := row(path))
        and found.volatile == "fed"
        and goals.get(Goal(path=path.rpartition("/")[0]).metric.path) == "user_input"
    }


def startable(tree: Tree) -> dict[str, str]:
    """Return a slot's tree without what is volatile, but with the intervals a start needs."""
    intervals = Kdamond(tree).intervals
    files = (intervals.sample, intervals.aggregation)
    return {**configuration(tree), **{each.path: each.text for each in files if each.present}}


def cgroup_paths(tree: Tree) -> set[str]:
    """Return the cgroups named by filters, goals and probes of a tree."""
    return {
        value
        for path, value in tree.items()
        if value and (found := row(path)) and found.kind == "path"
    }


def asks_pages(tree: Tree, scheme: str) -> bool:
    """Return whether a scheme has page filters; without one, passed bytes mean nothing."""
    here = Scheme(tree, scheme)
    layers = (here.filters, here.ops_filters)
    return any(each.type.text not in CORE for layer in layers for each in layer)


def held(path: str, tree: Tree) -> str:
    """Return a file's content, or its default if it is missing."""
    return File(tree, path).text


def differing(current: Tree, desired: Tree) -> list[str]:
    """Return the paths of ``desired`` that differ in ``current``, except volatile ones.

    A missing file counts as one with its default: a kernel without it behaves that way. So
    ``desired`` may name files that only some kernels have.
    """
    return [
        path
        for path, value in desired.items()
        if held(path, current) != value
        and not (is_volatile(path, desired) and is_volatile(path, current))
    ]


def check_numbers(tree: Tree) -> None:
    """Raise ValueError if a file of numbers has none, as only a stored tree may."""
    for path, value in tree.items():
        found = row(path)
        if found and found.kind in NUMBERS and not value.removeprefix("-").isdecimal():
            raise ValueError(f"`{path[:80]}` holds no number")


def empty_slot(tree: Tree) -> bool:
    """Return whether a slot's tree equals a new kdamond directory."""
    return all(value == default(path) for path, value in tree.items())


def count_of(path: str) -> str | None:
    """Return the innermost count file whose write would wipe ``path``, or None."""
    parts = path.split("/")
    for index in range(len(parts) - 1, 0, -1):
        if parts[index].isdecimal() and parts[index - 1] in COUNTS:
            return "/".join([*parts[:index], COUNTS[parts[index - 1]]])
    return None


def under(count_path: str, paths: Iterable[str]) -> list[str]:
    """Return the paths that a write to a count file wipes."""
    directory = count_path.rpartition("/")[0]
    prefix = f"{directory}/" if directory else ""
    return [
        path
        for path in paths
        if path.startswith(prefix) and path[len(prefix) :].split("/")[0].isdecimal()
    ]


def digest(value: object) -> str:
    """Return a short checksum of plain data, the same for equal data in any key order."""
    import hashlib  # loads a library of cryptography

    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
