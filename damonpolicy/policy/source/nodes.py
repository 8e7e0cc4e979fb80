"""The node tree of a YAML document: scalars are raw text, and every node has its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from enum import Enum
from typing import TypeAlias

from damonpolicy.base.diagnostics import Span
from damonpolicy.base.lazy import dataclass

__all__ = (
    "Data",
    "Hole",
    "Lost",
    "Mapping",
    "Node",
    "Path",
    "Places",
    "Scalar",
    "Sequence",
    "plain",
    "walk",
)

Path: TypeAlias = tuple[str | int, ...]
Data: TypeAlias = "str | Hole | list[Data] | dict[str, Data]"


class Hole(Enum):
    """A placeholder in plain data for a value that is wrong or missing.

    An error reports each; code that needs the value reports nothing more.
    """

    WRONG = 1
    MISSING = 2


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text of the file, without quotes; YAML's resolver never sees it."""

    text: str
    span: Span
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping with unique keys, in the file's order."""

    items: tuple[tuple[Scalar, Node], ...]
    span: Span

    def get(self, key: str) -> Node | None:
        """Return the value of ``key``, or None."""
        return next((value for name, value in self.items if name.text == key), None)

    def key(self, name: str) -> Scalar | None:
        """Return the key itself, for its place."""
        return next((key for key, _ in self.items if key.text == name), None)

    def without(self, *names: str) -> Mapping:
        """Return a copy that lacks the given keys."""
        kept = tuple((key, value) for key, value in self.items if key.text not in names)
        return Mapping(kept, self.span)


@dataclass(frozen=True, slots=True)
class Lost:
    """A value that could not be read, which an error has reported."""

    span: Span


Node: TypeAlias = Scalar | Sequence | Mapping | Lost


@dataclass(frozen=True, slots=True)
class Places:
    """The place of each value and key of a document, by path."""

    values: dict[Path, Span]
    keys: dict[Path, Span]
    filled: set[Path] = field(default_factory=set)
    """Mappings and lists that are not empty."""

    def value(self, path: Path) -> Span:
        """Return the place of a value, or of its nearest container."""
        while path not in self.values:
            path = path[:-1]
        return self.values[path]

    def key(self, path: Path) -> Span:
        """Return the place of a value's key, or of the value if it has no key."""
        return self.keys.get(path) or self.value(path)


def plain(node: Node) -> tuple[Data, Places]:
    """Turn nodes into dicts, lists and strings, and keep the places beside them."""
    places = Places({}, {})
    return _plain(node, (), places), places


def _plain(node: Node, path: Path, places: Places) -> Data:
    places.values[path] = node.span
    if isinstance(node, (Sequence, Mapping)) and node.items:
        places.filled.add(path)
    match node:
        case Scalar():
            return node.text
        case Lost():
            return Hole.WRONG
        case Sequence():
            return [_plain(item, (*path, index), places) for index, item in enumerate(node.items)]
        case Mapping():
            data: dict[str, Data] = {}
            for key, value in node.items:
                places.keys[(*path, key.text)] = key.span
                data[key.text] = _plain(value, (*path, key.text), places)
            return data


def walk(node: Node) -> Iterator[Scalar]:
    """Yield every scalar value, without keys."""
    match node:
        case Scalar():
            yield node
        case Sequence():
            for item in node.items:
                yield from walk(item)
        case Mapping():
            for _, value in node.items:
                yield from walk(value)
