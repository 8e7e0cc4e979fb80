"""Directories and files of DAMON's tree as values: their paths, and what a tree holds there.

`kernel.damon.view` has a class for each kind of directory, made of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar, overload

from damonpolicy.kernel.damon.schema import COUNTS, Row, default, row

__all__ = ("NO_TREE", "Below", "D", "Directory", "Entries", "File", "Numbered")

NO_TREE: Mapping[str, str] = MappingProxyType({})


class Directory:
    """A directory of a tree, by its path; the tree's own has an empty one."""

    __slots__ = ("path", "tree")

    def __init__(self, tree: Mapping[str, str] = NO_TREE, path: str = "") -> None:
        self.tree = tree
        self.path = path

    @property
    def name(self) -> str:
        """Its name in the directory around it: the number of a numbered one."""
        return self.path.rpartition("/")[2]

    def below(self, name: str) -> str:
        """Return the path of a file or directory in here."""
        return f"{self.path}/{name}" if self.path else name

    def holds(self, path: str) -> bool:
        """Return whether a path lies below this directory."""
        return path.startswith(self.below(""))


class File:
    """A file of a tree; a missing one holds its default."""

    __slots__ = ("path", "tree")

    def __init__(self, tree: Mapping[str, str], path: str) -> None:
        self.tree = tree
        self.path = path

    @property
    def present(self) -> bool:
        """Whether the tree has the file."""
        return self.path in self.tree

    @property
    def name(self) -> str:
        """The name in its directory."""
        return self.path.rpartition("/")[2]

    @property
    def row(self) -> Row:
        """The row of the schema; KeyError for a file that is none of DAMON's."""
        found = row(self.path)
        if found is None:
            raise KeyError(self.path)
        return found

    @property
    def text(self) -> str:
        """The content, without the final newline."""
        value = self.tree.get(self.path)
        return default(self.path) if value is None else value

    @property
    def number(self) -> int:
        """The content of a file of a number, in the kernel's unit; ValueError for another."""
        return int(self.text)

    @property
    def yes(self) -> bool:
        """Whether a boolean file holds Y."""
        return self.text == "Y"


D = TypeVar("D", bound=Directory)
V = TypeVar("V")


class Entries(Directory, Generic[D]):
    """A directory of numbered ones, which the kernel makes."""

    __slots__ = ("kind",)

    def __init__(self, tree: Mapping[str, str], path: str, kind: type[D]) -> None:
        self.tree = tree
        self.path = path
        self.kind = kind

    def __getitem__(self, index: int) -> D:
        """Return a directory by its number, whether the tree has it or not."""
        return self.kind(self.tree, self.below(str(index)))

    def holding(self, path: str) -> D | None:
        """Return the numbered directory that a path is or lies in, None for a path elsewhere."""
        number = path.removeprefix(self.below("")).partition("/")[0] if self.holds(path) else ""
        return self[int(number)] if number.isdecimal() else None


class Numbered(Entries[D]):
    """A directory of numbered ones, as many as its count file says."""

    __slots__ = ()

    @property
    def count(self) -> File:
        """The file whose write makes and wipes the directories."""
        return File(self.tree, self.below(COUNTS[self.name]))

    def listing(self, entries: Sequence[Mapping[str, str]]) -> dict[str, str]:
        """Return the files of directories with these contents, and of their count."""
        return {self.count.path: str(len(entries))} | {
            self[index].below(name): text
            for index, names in enumerate(entries)
            for name, text in names.items()
        }

    def __len__(self) -> int:
        return max(self.count.number, 0)

    def __iter__(self) -> Iterator[D]:
        return map(self.__getitem__, range(len(self)))


class Below(Generic[V]):
    """What a directory's view has by a name in the tree."""

    def __init__(self, name: str, make: Callable[[Mapping[str, str], str], V]) -> None:
        self.name = name
        self.make = make

    @overload
    def __get__(self, here: None, owner: type[Directory]) -> Below[V]: ...
    @overload
    def __get__(self, here: Directory, owner: type[Directory]) -> V: ...
    def __get__(self, here: Directory | None, owner: type[Directory]) -> Below[V] | V:
        if here is None:
            return self
        path = here.path  # `below` without its call: this runs often
        return self.make(here.tree, f"{path}/{self.name}" if path else self.name)
