"""DAMON's tree as plain data: snapshots, defaults, volatile files, digests.

A `Tree` maps paths below ``…/damon/admin/kdamonds`` to contents without the final
newline: ``{"nr_kdamonds": "8", "0/state": "off", "0/contexts/nr_contexts": "1", …}``.
The tree of one slot has paths below that slot: ``contexts/0/operations``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from damonpolicy.kernel.sysfs import KDAMONDS, Machine, read_value

__all__ = (
    "CORE",
    "COUNTS",
    "Tree",
    "asks_pages",
    "cgroup_paths",
    "check_numbers",
    "configuration",
    "count_of",
    "default",
    "digest",
    "empty_slot",
    "fed",
    "held",
    "is_volatile",
    "pattern",
    "slot_numbers",
    "slot_tree",
    "snapshot",
    "startable",
    "under",
)

Tree: TypeAlias = Mapping[str, str]

CORE = ("addr", "target", "probe_hits_wsum")
"""Types of filters that DAMON's core evaluates before single pages."""

_PAGES = ("filters", "ops_filters")

COUNTS = {
    "contexts": "nr_contexts",
    "targets": "nr_targets",
    "regions": "nr_regions",
    "schemes": "nr_schemes",
    "filters": "nr_filters",
    "core_filters": "nr_filters",
    "ops_filters": "nr_filters",
    "goals": "nr_goals",
    "dests": "nr_dests",
    "probes": "nr_probes",
    "preps": "nr_preps",
}
"""The file that makes and wipes the numbered directories beside it, by directory."""

_NUMBERS = re.compile(
    r"(?:^|/)(?:nr_\w+|pid|pid_target|addr_unit|\w+_us|(?:addr_)?(?:start|end)|min|max)\Z"
)
_SKIPPED = ("tried_regions", "avail_operations")
_STATISTICS = re.compile(r"contexts/\d+/schemes/\d+/stats/(?!max_nr_snapshots$)\w+\Z")
_INTERVALS = re.compile(r"(contexts/\d+/monitoring_attrs/intervals)/(?:sample|aggr)_us\Z")
_CURRENT = re.compile(r"(contexts/\d+/schemes/\d+/quotas/goals/\d+)/current_value\Z")
_EFFECTIVE = re.compile(r"contexts/\d+/schemes/\d+/quotas/effective_bytes\Z")
_NUMBER = re.compile(r"(?<=/)\d+(?=/|\Z)")

_DEFAULTS = {
    "addr_unit": "1",
    "operations": "vaddr",
    "pause": "N",
    "sample_us": "5000",
    "aggr_us": "100000",
    "update_us": "60000000",
    "monitoring_attrs/nr_regions/min": "10",
    "monitoring_attrs/nr_regions/max": "1000",
    "allow": "N",
    "matching": "N",
    "path": "",
    "memcg_path": "",
    "filters/*/type": "anon",
    "sample/filters/*/type": "cpumask",
    "cpumask": "",
    "tid_arr": "",
    "page_table": "Y",
    "page_fault": "N",
    "prep_action": "set_pgidle",
    "action": "stat",
    "target_nid": "-1",
    "goal_tuner": "consist",
    "target_metric": "user_input",
    "watermarks/metric": "none",
    "complement": "N",
    "obsolete_target": "N",
    "use_reports": "N",
    "write_only": "N",
    "cpus": "",
    "tids": "",
    "state": "off",
    "pid": "-1",
}


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
                tree["nr_kdamonds"] = read_value(machine, f"{KDAMONDS}/nr_kdamonds")
                for slot in slots:
                    if slot < int(tree["nr_kdamonds"]):
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


def slot_numbers(tree: Tree) -> list[int]:
    """Return the numbers of the kdamond directories."""
    return list(range(int(tree.get("nr_kdamonds", "0"))))


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
    on with a non-zero ``aggrs`` (mm/damon/core.c: kdamond_fn()).
    """
    if path in ("pid", "state") or _STATISTICS.match(path) or _EFFECTIVE.match(path):
        return True
    if found := _INTERVALS.match(path):
        return tree.get(f"{found[1]}/intervals_goal/aggrs", "0") != "0"
    if found := _CURRENT.match(path):
        return tree.get(f"{found[1]}/target_metric", "user_input") == "user_input"
    return False


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
        if (found := _CURRENT.match(path))
        and goals.get(f"{found[1]}/target_metric") == "user_input"
    }


def startable(tree: Tree) -> dict[str, str]:
    """Return a slot's tree without volatile files, except the intervals that a start needs."""
    base = "contexts/0/monitoring_attrs/intervals"
    intervals = (f"{base}/sample_us", f"{base}/aggr_us")
    return {**configuration(tree), **{path: tree[path] for path in intervals if path in tree}}


def cgroup_paths(tree: Tree) -> set[str]:
    """Return the cgroups named by filters, goals and probes of a tree."""
    return {
        value
        for path, value in tree.items()
        if value and path.rpartition("/")[2] in ("memcg_path", "path")
    }


def asks_pages(tree: Tree, scheme: str) -> bool:
    """Return whether a scheme has page filters; without one, passed bytes mean nothing."""
    return any(
        tree.get(f"{scheme}/{layer}/{index}/type") not in CORE
        for layer in _PAGES
        for index in range(int(tree.get(f"{scheme}/{layer}/nr_filters", "0")))
    )


def pattern(path: str) -> str:
    """Replace the numbers of a path by ``*``."""
    return _NUMBER.sub("*", "/" + path)[1:]


@functools.lru_cache(maxsize=1 << 14)
def default(path: str) -> str:
    """Return a file's content right after its directory was made.

    The values were seen on the kernels of tests/kernel/observed; if the table is wrong for a
    kernel, the read-back fails and the transaction is undone.
    """
    parts = pattern(path).split("/")
    for start in range(len(parts)):
        found = _DEFAULTS.get("/".join(parts[start:]))
        if found is not None:
            return found
    if parts[-1] == "type":
        return _DEFAULTS["filters/*/type"]
    return "0"


def held(path: str, tree: Tree) -> str:
    """Return a file's content, or its default if it is missing."""
    value = tree.get(path)
    return default(path) if value is None else value


def check_numbers(tree: Tree) -> None:
    """Raise ValueError if a file of numbers has none, as only a stored tree may."""
    for path, value in tree.items():
        if _NUMBERS.search(path) and not value.removeprefix("-").isdecimal():
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
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
