"""Our words, the kernel's files, damo's options: the schema as hints, plans and docs read it.

Hints, plans and docs use it. Standard library only, so that plans can be shown without the model.
"""

from __future__ import annotations

import functools
import re

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.schema import ROWS, pattern

__all__ = ("FOREIGN", "WORDS", "Word", "by_kernel", "elsewhere", "rank")


@dataclass(frozen=True, slots=True)
class Word:
    """One setting under its three names.

    ``ours`` is the path in a policy below its kdamond, scheme, target or probe; ``kernel`` the
    pattern below the kdamond's directory; ``unit`` that of the kernel's file.
    """

    ours: str
    kernel: str
    unit: str = "text"
    damo: str = ""


WORDS: tuple[Word, ...] = tuple(
    Word(each.ours, each.path.removeprefix("*/"), each.unit, each.damo)
    for each in ROWS
    if each.ours
)
"""Those of the schema, in its order."""

_BY_KERNEL = {word.kernel: word for word in WORDS}
_RANKS = {word.kernel: rank for rank, word in enumerate(WORDS)}

_WHOLES = {
    "damos_filter": "filters",
    "damos_quota_goal": "quota.goals",
    "damos_quota_weights": "quota.weights",
    "damos_quotas": "quota",
    "damos_wmarks": "watermarks",
    "exp_ops_write_only": "accesses.kind",
    "intervals_goal": "intervals.auto_tune",
    "monitoring_attrs": "intervals` and `region_count",
    "monitoring_intervals": "intervals",
    "monitoring_intervals_goal": "intervals.auto_tune",
    "primitives": "accesses",
    "quotas": "quota",
    "sample_primitives": "accesses",
}
"""Directories, and options that set all of one."""

_BETWEEN = r"\.(?:min|max|type|not|allow|of|page_table|page_fault)$"
"""Suffixes of ``Word.ours`` that distinguish files, but are not keys."""

_NOWHERE = ("targets.obsolete", "quota.goals.current")

FOREIGN = {
    "sample_us": "sample",
    "sampling": "sample",
    "aggr": "aggregation",
    "aggr_us": "aggregation",
    "update_us": "update",
    "updr": "update",
    "ops_update": "update",
    "ops_update_us": "update",
    "intervals_goal": "auto_tune",
    "autotune": "auto_tune",
    "access_bp": "observe",
    "aggrs": "aggregations",
    "min_sample_us": "min_sample",
    "max_sample_us": "max_sample",
    "nr_regions": "region_count",
    "operations": "ops",
    "pause": "paused",
    "refresh_ms": "refresh",
    "sample_control": "accesses",
    "contexts": "kdamonds",
    "sz": "size",
    "sz_bytes": "size",
    "sz_region": "size",
    "bytes": "size",
    "space": "size",
    "nr_accesses": "access_rate",
    "frequency": "access_rate",
    "apply_interval": "apply_every",
    "apply_interval_us": "apply_every",
    "quotas": "quota",
    "ms": "time",
    "time_ms": "time",
    "reset_interval": "every",
    "reset_interval_ms": "every",
    "interval": "every",
    "interval_us": "every",
    "sz_permil": "size",
    "nr_accesses_permil": "access_rate",
    "age_permil": "age",
    "goal_tuner": "tuner",
    "target_metric": "metric",
    "target_value": "target",
    "nid": "node",
    "memcg_path": "memcg",
    "target_nid": "to",
    "dests": "to",
    "max_nr_snapshots": "max_snapshots",
    "pid_target": "process",
    "pid": "process",
    "wmarks": "watermarks",
    "deny": "reject",
    "block": "reject",
    "pass": "allow",
    "address": "addr",
    "cpumask": "cpus",
    "tid_arr": "threads",
    "foreach": "for_each",
}
"""Keys of kernel files and damo's configuration files, and our names for them."""


def elsewhere(name: str) -> str:
    """Return the policy key for a kernel file or an option of damo.

    Empty if there is none, or several.
    """
    given = name.removeprefix("--")
    return _WHOLES.get(given) or _elsewhere().get(given, "")


@functools.cache
def _elsewhere() -> dict[str, str]:
    theirs: set[str] = set()
    places: dict[str, set[str]] = {}
    for word in WORDS:
        if word.ours in _NOWHERE:
            continue
        place = re.sub(_BETWEEN, "", word.ours)
        file = word.kernel.removesuffix("/min").removesuffix("/max").rpartition("/")[2]
        names = {word.damo.removeprefix("--"), file} - {"", "*", place}
        theirs |= names
        # ours counts too: `start` may mean any that we have
        for name in names | {place.rpartition(".")[2]}:
            places.setdefault(name, set()).add(place)
    return {name: min(places[name]) for name in theirs if len(places[name]) == 1}


def by_kernel(path: str) -> Word | None:
    """Return the word for a kernel file, by its path below the kdamond's directory."""
    return _BY_KERNEL.get(pattern(path))


def rank(path: str) -> int:
    """Return the position of a kernel file in the order of a policy."""
    return _RANKS.get(pattern(path), len(WORDS))
