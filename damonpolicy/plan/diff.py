"""The fewest safe writes from one tree of a kdamond's directory to another.

The same function plans an apply and an undo: only the direction differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.schema import COUNTS, default
from damonpolicy.kernel.damon.tree import (
    Tree,
    cgroup_paths,
    count_of,
    held,
    is_volatile,
    kdamond_path,
    under,
)
from damonpolicy.kernel.operation import Kind, Operation, Phase

__all__ = ("changes", "remade")


def remade(committed: Tree, were: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """Return the cgroups of a commit whose paths mean other cgroups than they ``were``.

    That includes cgroups whose former meaning is unknown: the kernel may have been given any.
    """
    named = cgroup_paths(committed)
    return [
        path
        for path, identity in now.items()
        if path in named and identity and were.get(path) != identity
    ]


def changes(
    slot: int, current: Tree, desired: Tree, phase: Phase = "stage", *, anew: bool = False
) -> tuple[list[Operation], dict[str, str]]:
    """Return operations from ``current`` to ``desired``, and the tree they lead to.

    Both are trees of one slot; what ``desired`` does not mention stays, unless a count wipes it.
    Counts are written before what they make, and only where they change or where a text has to
    become empty again, which takes a new directory. ``anew`` is for a kdamond that is about to
    start: values that the kernel tuned for an earlier one are overwritten.
    """
    walk = _Walk(slot, current, desired, phase, anew, dict(current))
    for path in sorted(walk.concerned(), key=_turn):
        walk.go(path)
    return walk.operations, walk.tree


_COUNTERS = frozenset(COUNTS.values())


def _counts(path: str) -> bool:
    return path.rpartition("/")[2] in _COUNTERS


def _turn(path: str) -> list[tuple[int, int, str]]:
    """Return the order of writes: a directory's count, its files, its subdirectories."""
    *directories, name = path.split("/")
    inside = [(3, int(each), "") if each.isdecimal() else (2, 0, each) for each in directories]
    return [*inside, (0 if name in _COUNTERS else 1, 0, name)]


@dataclass(slots=True)
class _Walk:
    slot: int
    current: Tree
    desired: Tree
    phase: Phase
    anew: bool
    tree: dict[str, str]
    made: set[str] = field(default_factory=set)
    remade: set[str] = field(default_factory=set)
    operations: list[Operation] = field(default_factory=list)

    def concerned(self) -> set[str]:
        """Return the files that differ, and those below a count that is written."""
        # an empty write has no effect, so a text that has to become empty needs a new directory
        self.remade = {
            counter
            for path, value in self.desired.items()
            if value == "" and self.current.get(path) and (counter := count_of(path))
        }
        differ = {path for path, value in self.desired.items() if self.tree.get(path) != value}
        counters = set(filter(_counts, differ)) | (self.remade & self.desired.keys())
        for counter in counters:
            differ.update(under(counter, self.desired))
        return differ | counters

    def go(self, path: str) -> None:
        """Plan one file, once it is its turn."""
        if not _counts(path):
            self._file(path)
        elif held(path, self.tree) != self.desired[path] or path in self.remade:
            self._count(path)

    def _count(self, counter: str) -> None:
        self._write("count", counter)
        for path in under(counter, self.tree):
            del self.tree[path]
        depth = counter.count("/") + 1
        for path in under(counter, self.desired):
            if not any(part.isdecimal() for part in path.split("/")[depth:]):
                self.tree[path] = default(path)
                self.made.add(path)

    def _file(self, path: str) -> None:
        value = self.desired[path]
        if held(path, self.tree) == value:
            return
        kept = path not in self.made and not self.anew
        if kept and is_volatile(path, self.desired) and is_volatile(path, self.current):
            return
        self._write("write", path)

    def _write(self, kind: Kind, path: str) -> None:
        before = held(path, self.tree)
        self.operations.append(
            Operation(
                kind, self.phase, kdamond_path(self.slot, path), before, self.desired[path],
                self.slot,
            )
        )  # fmt: skip
        self.tree[path] = self.desired[path]
