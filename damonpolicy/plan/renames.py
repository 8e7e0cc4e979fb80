"""Kdamonds that are renamed and changed at once: one ends, another starts on the same targets.

A kdamond with only a new name is adopted while it runs. One that differs in more cannot be matched,
so it starts over: the plan says what is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.plan.bind import Bound, Waits
from damonpolicy.plan.diff import differing
from damonpolicy.plan.online import has_goals

__all__ = ("lost",)


def lost(
    ending: Mapping[str, Tree], bound: Mapping[str, Bound | Waits], starting: Iterable[str]
) -> dict[str, str]:
    """Return the remarks about kdamonds that start, by name.

    ``ending`` is what was committed to running kdamonds that end, by name; each is lost once.
    """
    left = dict(ending)
    said = {}
    for name in starting:
        new = bound[name]
        if isinstance(new, Waits):
            continue
        old = next((each for each, ran in left.items() if _looks(ran) == _looks(new.files)), None)
        if old is None:
            continue
        ran = left.pop(old)
        tuned = " and tuned quotas" if has_goals(ran) else ""
        changed = differing(ran, new.files)
        keeps = " (renamed first and changed later, it would go on)" if changed else ""
        said[name] = (
            f"`{old}` has the same targets and ends: its monitoring results{tuned} start over{keeps}"
        )
    return said


def _looks(tree: Tree) -> dict[str, str]:
    kdamond = Kdamond(tree)
    return {
        path: value
        for path, value in tree.items()
        if path == kdamond.ops.path or kdamond.targets.holds(path)
    }
