"""Changes that a commit silently ignores on some kernels, though the files read back.

tests/guest/effects.py tries every file on every kernel. If one is ignored, the kdamond has to
restart. A kernel counts as fixed if it shows a feature that came with the fix or later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.damon.view import Goal, Kdamond

__all__ = ("UNCOMMITTED", "Uncommitted", "ignored", "sooner", "touched", "unfed", "unheard")

Found: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """A value that a commit does not change, or, if ``late``, only after a while.

    ``quirk`` is its row in `kernel.damon.quirks`, ``mended`` the feature that shows the fix; ``find``
    extracts from a tree what the kernel would have to change.
    """

    quirk: str
    mended: str
    what: str
    find: Callable[[Tree], Found]
    late: bool = False


def _goals(tree: Tree) -> dict[str, Goal]:
    """Return goals by the kernel's identity of a goal.

    That is its position among those with a target: goals without one are skipped
    (mm/damon/sysfs-schemes.c: damos_sysfs_add_quota_score()).
    """
    found = {}
    for scheme in Kdamond(tree).schemes:
        goals = scheme.quota.goals
        aimed = (goal for goal in goals if goal.target.text != "0")
        found.update({goals[place].path: goal for place, goal in enumerate(aimed)})
    return found


def _eligible_nodes(tree: Tree) -> Found:
    return {
        place: goal.node.text
        for place, goal in _goals(tree).items()
        if goal.metric.text == "node_eligible_mem_bp"
    }


def _fewest(tree: Tree) -> Found:
    fewest = Kdamond().region_count.min.path
    return {fewest: tree.get(fewest)}


UNCOMMITTED = (
    Uncommitted(
        "commit.eligible", "probe.weight",
        "this kernel ignores a new node of a `node_eligible_mem_bp` goal while it runs",
        _eligible_nodes,
    ),
    Uncommitted(
        "commit.fewest", "quota.tuner",
        "this kernel minds the new `region_count.min` from the next `intervals.update` on",
        _fewest,
        late=True,
    ),
)  # fmt: skip


_UNFED = "commit.unfed", "refresh"
"""The quirk behind `unfed`, and the feature that shows its end."""


def ignored(capabilities: Capabilities) -> tuple[str, ...]:
    """Return the names of changes that this kernel may ignore, as it shows no sign of the fix."""
    known = [*((each.quirk, each.mended) for each in UNCOMMITTED), _UNFED]
    return tuple(quirk for quirk, mended in known if capabilities.known(mended) != "yes")


def unheard(
    names: Sequence[str], desired: Tree, *before: Tree, late: bool = False
) -> tuple[str, ...]:
    """Return the parts of a change that a commit would ignore, or apply ``late``.

    ``before`` is what is known about the running kdamond: files, and what was committed. A new
    value, or one that differs from either, may be in effect with another value.
    """
    return tuple(
        each.what
        for each in UNCOMMITTED
        if each.quirk in names
        and each.late == late
        and any(
            each.find(tree).get(key) != value
            for key, value in each.find(desired).items()
            for tree in before
        )
    )


def unfed(names: Sequence[str], desired: Tree, *before: Tree) -> bool:
    """Return whether a commit adds a fed goal, whose current value old kernels do not carry over.

    A second commit finds the goal, and hands the value over (mm/damon/core.c of 6.12:
    damos_commit_quota_goals(), damos_new_quota_goal()).
    """
    return _UNFED[0] in names and any(
        goal.metric.text == "user_input"
        and goal.current.text != "0"
        and any(place not in _goals(tree) for tree in before)
        for place, goal in _goals(desired).items()
    )


def sooner(front: int, desired: Tree, *before: Tree) -> bool:
    """Return whether a scheme with a shorter interval would first wait as long as before.

    The kernel computes the next time when attributes of the monitoring change, not when the
    interval does (mm/damon/core.c: damos_commit(), damon_set_attrs()). Tuning changes them.
    ``front`` is the number of schemes that stay: new ones do not wait.
    """
    known, wanted = [tree for tree in before if tree], Kdamond(desired)
    intervals, counts = wanted.intervals, wanted.region_count
    tuned = intervals.auto_tune.aggregations.text != "0"
    attributes = [path for path in desired if intervals.holds(path) or counts.holds(path)]
    changed = any(tree.get(path) != desired[path] for path in attributes for tree in known)
    return not (tuned or changed) and any(
        _wait(desired, path) < _wait(tree, path)
        for path in (wanted.schemes[place].apply_every.path for place in range(front))
        for tree in known
        if path in tree and path in desired
    )


def _wait(tree: Tree, path: str) -> int:
    return int(tree[path]) or Kdamond(tree).intervals.aggregation.number


def touched(tree: Tree) -> dict[str, str]:
    """Return a tree in which one attribute of the monitoring differs without effect."""
    most = Kdamond(tree).region_count.max
    return {**tree, most.path: str(most.number + 1)}
