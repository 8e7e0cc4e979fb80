"""Kdamonds that end while others start on the same targets: by another name, and changed as well.

One that has changed its name only is adopted as it runs. Of one that differs in more nobody knows
whose it was, so it starts anew: the plan says what is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from damonpolicy.kernel.tree import Tree
from damonpolicy.plan.bind import Bound, Waits
from damonpolicy.plan.changes import differing

__all__ = ("lost",)

_LOOKS = re.compile(r"contexts/0/(operations\Z|targets/)")
_GOAL = re.compile(r"contexts/0/schemes/\d+/quotas/goals/\d+/")


def lost(
    ending: Mapping[str, Tree], bound: Mapping[str, Bound | Waits], starting: Iterable[str]
) -> dict[str, str]:
    """Return what is to be said of kdamonds that start, by name.

    ``ending`` is what was committed to those that run and end, by name as well; each is lost once.
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
        tuned = " and tuned quotas" if any(map(_GOAL.match, ran)) else ""
        changed = differing(ran, new.files)
        keeps = " (renamed first and changed later, it would go on)" if changed else ""
        said[name] = (
            f"`{old}` has the same targets and ends: its monitoring results{tuned} start over{keeps}"
        )
    return said


def _looks(tree: Tree) -> dict[str, str]:
    return {path: value for path, value in tree.items() if _LOOKS.match(path)}
