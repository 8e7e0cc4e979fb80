"""Detection of others' writes: files with neither an old, a new, nor a default value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from damonpolicy.engine.journal import Header
from damonpolicy.kernel.damon.schema import COUNTS, default
from damonpolicy.kernel.damon.tree import Tree, configuration, is_volatile, slot_tree
from damonpolicy.kernel.damon.view import Kdamond, Scheme

__all__ = ("Known",)

_LISTS = (Kdamond().targets, Scheme().filters)
_PART = rf"(.*(?:{'|'.join(each.name for each in _LISTS)}))/\d+/(.+)\Z"
_COUNTS = tuple(f"/{COUNTS[each.name]}" for each in _LISTS)


class Known:
    """The values that a transaction allows in the files of the slots."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._written: dict[int, dict[str, set[str]]] = {}
        for operation in header.operations:
            if operation.slot >= 0:
                path = operation.relative.removeprefix(f"{operation.slot}/")
                texts = self._written.setdefault(operation.slot, {}).setdefault(path, set())
                texts.update((operation.before, operation.after))

    def strangers(self, slot: int, now: Tree) -> list[str]:
        """Return the paths of a slot's tree whose content is not ours."""
        header = self._header
        old, record = slot_tree(header.before.tree, slot), header.managed.slots.get(slot)
        # an undo writes what was last verified, too
        trees = (old, header.after.get(slot, {}), record.files if record else {})
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
