"""Matching of schemes by name, as the kernel knows them only by position.

A commit hands the state of the scheme at a position to the next scheme there: its tuned quota, its
statistics, its number of snapshots (mm/damon/core.c: damon_commit_schemes()).
"""

from __future__ import annotations

from collections.abc import Mapping

from damonpolicy.kernel.damon.tree import Tree, differing
from damonpolicy.kernel.damon.view import Kdamond

__all__ = ("Schemes", "without_schemes")


class Schemes:
    """The schemes of a running kdamond, old and new, by position.

    ``old`` and ``new`` map directories to names.
    """

    def __init__(
        self, before: Tree, desired: Tree, old: Mapping[str, str], new: Mapping[str, str]
    ) -> None:
        self._old, self._new = _names(before, old), _names(desired, new)
        self._desired, self._changed = desired, differing(before, desired)
        self.front = 0
        """The number of first schemes that keep their places."""
        while self.front < min(len(self._old), len(self._new)) and self._stays(self.front):
            self.front += 1

    @property
    def inherit(self) -> bool:
        """Whether a single commit would give a scheme the state of another."""
        return self.front < min(len(self._old), len(self._new))

    def staying(self, tree: Tree) -> Tree:
        """Return a tree with the schemes whose state stays."""
        return without_schemes(tree, self.front) if self.inherit else tree

    @property
    def remark(self) -> str:
        """The loss of schemes that move to another position; an empty text if none moves."""
        kept = set(self._old[self.front :])
        moved = {
            name: place
            for place, name in enumerate(self._new)
            if place >= self.front and name in kept
        }
        if not moved:
            return ""
        schemes = Kdamond(self._desired).schemes
        tuned = any(len(schemes[place].quota.goals) for place in moved.values())
        names = ", ".join(f"`{name}`" for name in moved)
        begin = "begins" if len(moved) == 1 else "begin"
        lost = "statistics and tuned quotas start over" if tuned else "statistics start over"
        return f"the kernel knows schemes by position: {names} {begin} again, {lost}"

    def _stays(self, place: int) -> bool:
        """Return whether the same scheme is at a position: by name, or renamed but equal."""
        scheme = Kdamond().schemes[place]
        return self._old[place] == self._new[place] or not any(map(scheme.holds, self._changed))


def _names(tree: Tree, names: Mapping[str, str]) -> list[str]:
    return [names.get(each.path, each.path) for each in Kdamond(tree).schemes]


def without_schemes(tree: Tree, front: int) -> dict[str, str]:
    """Return a tree with only the first schemes."""
    schemes = Kdamond(tree).schemes
    kept = tuple(schemes[place].below("") for place in range(front))
    rest = {
        path: value
        for path, value in tree.items()
        if not schemes.holds(path) or path.startswith(kept)
    }
    return {**rest, schemes.count.path: str(front)}
