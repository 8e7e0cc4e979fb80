"""Our words, the kernel's files, damo's options: the schema as hints, plans and docs read it.

Hints, plans and docs use it. Standard library only, so that plans can be shown without the model.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TypeAlias

from damonpolicy.kernel.damon.schema import ROWS, Row, row
from damonpolicy.kernel.damon.view import Kdamond

__all__ = ("FOREIGN", "WORDS", "Word", "by_kernel", "elsewhere", "rank")


Word: TypeAlias = Row
"""One setting under its three names: ``ours``, ``kernel`` and ``damo``."""

WORDS: tuple[Word, ...] = tuple(each for each in ROWS if each.ours)
"""Those of the schema, in its order."""


def _name(path: str) -> str:
    """Return the name of a file or directory; that of bounds is their directory's."""
    names = path.split("/")
    return names[-2] if names[-1] in ("min", "max") else names[-1]


_KDAMOND = Kdamond()
_GOAL = _name(_KDAMOND.intervals.auto_tune.path)
_QUOTA = _name(_KDAMOND.schemes[0].quota.path)
_WHOLES = {
    "damos_filter": "filters",
    "damos_quota_goal": "quota.goals",
    "damos_quota_weights": "quota.weights",
    "damos_quotas": "quota",
    "damos_wmarks": "watermarks",
    "exp_ops_write_only": "accesses.kind",
    _GOAL: "intervals.auto_tune",
    _KDAMOND.intervals.path.split("/")[-2]: "intervals` and `region_count",
    "monitoring_intervals": "intervals",
    "monitoring_intervals_goal": "intervals.auto_tune",
    _KDAMOND.sample.page_table.path.split("/")[-2]: "accesses",
    _QUOTA: "quota",
    "sample_primitives": "accesses",
}
"""Directories, and options that set all of one."""

_BETWEEN = r"\.(?:min|max|type|not|allow|of|page_table|page_fault)$"
"""Suffixes of ``Word.ours`` that distinguish files, but are not keys."""

_NOWHERE = ("targets.obsolete", "quota.goals.current")
_APART = (
    *_NOWHERE, "accesses.kind", "accesses.primitive", "filters.addr.end", "filters.addr.start",
    "filters.target", "probes.filters.memcg", "probes.preps", "quota.fail_charge",
    "quota.goals.cgroup", "to.node",
)  # fmt: skip
"""Keys that the name of a file does not lead to: it says too little, or is another key's."""


def _theirs() -> Iterator[tuple[str, str]]:
    """Yield the names of files, and the keys for them."""
    for each in ROWS:
        ours = re.sub(r"\.(?:min|max)$", "", each.ours)
        theirs, key = _name(each.path), ours.rpartition(".")[2]
        if ours not in ("", *_APART) and not re.search(_BETWEEN, ours) and theirs not in ("*", key):
            yield theirs, key


FOREIGN = {
    **dict(_theirs()),
    _GOAL: "auto_tune",
    _QUOTA: "quota",
    _name(_KDAMOND.schemes[0].dests.path): "to",
    _name(_KDAMOND.targets[0].pid.path): "process",
    "sampling": "sample",
    "aggr": "aggregation",
    "updr": "update",
    "ops_update": "update",
    "ops_update_us": "update",
    "autotune": "auto_tune",
    "sample_control": "accesses",
    "contexts": "kdamonds",
    "sz_bytes": "size",
    "sz_region": "size",
    "space": "size",
    "frequency": "access_rate",
    "apply_interval": "apply_every",
    "time_ms": "time",
    "reset_interval": "every",
    "interval": "every",
    "pid": "process",
    "wmarks": "watermarks",
    "deny": "reject",
    "block": "reject",
    "pass": "allow",
    "address": "addr",
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
        names = {word.damo.removeprefix("--"), _name(word.kernel)} - {"", "*", place}
        theirs |= names
        # ours counts too: `start` may mean any that we have
        for name in names | {place.rpartition(".")[2]}:
            places.setdefault(name, set()).add(place)
    return {name: min(places[name]) for name in theirs if len(places[name]) == 1}


def by_kernel(path: str) -> Word | None:
    """Return the word for a kernel file, by its path below the kdamond's directory."""
    found = row(path)
    return found if found and found.ours else None


def rank(path: str) -> int:
    """Return the position of a kernel file in the order of a policy."""
    found = by_kernel(path)
    return WORDS.index(found) if found else len(WORDS)
