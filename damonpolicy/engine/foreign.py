"""Detection of others' writes: files with neither an old, a new, nor a default value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from damonpolicy.engine.journal import Before
from damonpolicy.kernel.damon.schema import default
from damonpolicy.kernel.damon.tree import Tree, configuration, is_volatile, slot_tree
from damonpolicy.kernel.operation import Operation

__all__ = ("Known",)

_PART = r"(.*(?:targets|filters))/\d+/(.+)\Z"
_COUNTS = ("/nr_targets", "/nr_filters")


class Known:
    """The values that a transaction allows in the files of the slots."""

    def __init__(
        self,
        before: Before,
        after: Mapping[int, Tree],
        operations: Iterable[Operation],
        committed: Mapping[int, Tree],
    ) -> None:
        """``committed`` are the trees that were last verified, which an undo writes, too."""
        self._before = before
        self._after = after
        self._committed = committed
        self._written: dict[int, dict[str, set[str]]] = {}
        for operation in operations:
            if operation.slot >= 0:
                path = operation.relative.removeprefix(f"{operation.slot}/")
                texts = self._written.setdefault(operation.slot, {}).setdefault(path, set())
                texts.update((operation.before, operation.after))

    def strangers(self, slot: int, now: Tree) -> list[str]:
        """Return the paths of a slot's tree whose content is not ours."""
        old = slot_tree(self._before.tree, slot)
        trees = (old, self._after.get(slot, {}), self._committed.get(slot, {}))
        written = self._written.get(slot, {})
        parts = _parts(trees)
        return [
            path
            for path, value in configuration(now).items()
            if value != default(path)
            and all(tree.get(path) != value for tree in trees)
            and value not in written.get(path, ())
            and not is_volatile(path, old)
            and not _shorter(path, value, trees, parts)
        ]


def _parts(trees: Iterable[Tree]) -> dict[tuple[str, str], set[str]]:
    """Return the contents of the files of lists, by list and name, ignoring positions."""
    parts: dict[tuple[str, str], set[str]] = {}
    for tree in trees:
        for path, value in tree.items():
            if match := re.match(_PART, path):
                parts.setdefault((match[1], match[2]), set()).add(value)
    return parts


def _shorter(
    path: str, value: str, trees: Iterable[Tree], parts: Mapping[tuple[str, str], set[str]]
) -> bool:
    """Return whether a file belongs to a list of targets or filters without missing ones.

    Their processes have ended, or their cgroups are missing. An undo stages such a list while it
    commits; if it is killed then, the next undo finds it.
    """
    if match := re.match(_PART, path):
        return value in parts.get((match[1], match[2]), ())
    if not path.endswith(_COUNTS) or not value.isdecimal():
        return False
    return any(int(value) <= int(tree.get(path) or "0") for tree in trees)
