"""What a commit does not carry into effect on some kernels, though the files read back as written.

tests/kernel/effects.py asks every file of every kernel. Where one is ignored, the kdamond has
to restart. A kernel is taken to be mended where it shows a feature that came with the mending.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from damonpolicy.kernel.capabilities import Capabilities
from damonpolicy.kernel.tree import Tree

__all__ = ("UNCOMMITTED", "Uncommitted", "ignored", "unheard")

Found: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """Something that stays as it was at the start.

    ``quirk`` is its row in `kernel.quirks`, ``mended`` the feature that shows its end;
    ``find`` takes from a tree what the kernel would have to change.
    """

    quirk: str
    mended: str
    what: str
    find: Callable[[Tree], Found]


_GOAL = re.compile(r"(contexts/0/schemes/\d+/quotas/goals)/(\d+)/target_metric\Z")


def _eligible_nodes(tree: Tree) -> Found:
    """Return the nodes of goals on eligible memory, by what the kernel knows a goal by.

    That is its place among those with a target: one without is passed over
    (mm/damon/sysfs-schemes.c: damos_sysfs_add_quota_score()).
    """
    found: Found = {}
    places: dict[str, int] = {}
    goals = sorted(
        (match[1], int(match[2]), metric)
        for path, metric in tree.items()
        if (match := _GOAL.match(path))
    )
    for directory, index, metric in goals:
        if tree.get(f"{directory}/{index}/target_value", "0") == "0":
            continue
        place = places[directory] = places.get(directory, -1) + 1
        if metric == "node_eligible_mem_bp":
            found[f"{directory}/{place}"] = tree.get(f"{directory}/{index}/nid")
    return found


UNCOMMITTED = (
    Uncommitted(
        "commit.eligible", "probe.weight",
        "this kernel ignores a new node of a `node_eligible_mem_bp` goal while it runs",
        _eligible_nodes,
    ),
)  # fmt: skip


def ignored(capabilities: Capabilities) -> tuple[str, ...]:
    """Return by name what this kernel may ignore: it shows no sign of the mending."""
    return tuple(each.quirk for each in UNCOMMITTED if capabilities.known(each.mended) != "yes")


def unheard(names: Sequence[str], desired: Tree, *before: Tree) -> str:
    """Return what of a change a commit would not carry, or an empty text.

    ``before`` are what is known of what runs: files, and what was committed. What is new,
    or differs from one of them, may be in effect with another value.
    """
    for each in UNCOMMITTED:
        wanted = each.find(desired).items() if each.quirk in names else ()
        for tree in before:
            found = each.find(tree)
            if any(found.get(key) != value for key, value in wanted):
                return each.what
    return ""
