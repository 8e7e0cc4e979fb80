"""Dataclasses as plain data for a file, and the validation of what a file gives.

A checksum shows that a file is undamaged, not that we would write such content. `record` compares
each value with the field's type and converts nothing, so the result is what was written. Standard
library only, as the engine needs it.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self, TypeVar

__all__ = (
    "LATER",
    "Kept",
    "integer",
    "mapping",
    "of_format",
    "plain",
    "record",
    "sequence",
    "text",
    "value",
)

_T = TypeVar("_T")
_MOST_BITS = 64

LATER: Mapping[str, bool] = {"later": True}
"""Metadata of a field with a default, which files of an older format lack."""


class Kept:
    """A dataclass that a file keeps; a file of its own says which ``FORMAT`` it has."""

    __slots__ = ()
    FORMAT: ClassVar[int] = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        data: dict[str, Any] = plain(self)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave; raises ValueError for anything else."""
        return record(cls, data)


def plain(data: Any) -> Any:
    """Return a dataclass, or a container of them, as what `record` reads and JSON can hold."""
    if data is None or isinstance(data, str | int | float):
        return data
    if isinstance(data, Mapping):
        return {str(key): plain(each) for key, each in data.items()}
    if isinstance(data, list | tuple):
        return [plain(each) for each in data]
    number = getattr(data, "FORMAT", 0)
    head = {"format": number} if number else {}
    return head | {each.name: plain(getattr(data, each.name)) for each in fields(data)}


def text(data: Any, where: str = "it") -> str:
    """Accept a text that can be a file's content or name."""
    found = _of(str, data, where, "a text")
    if not found.isascii():
        found.encode("utf-8", "surrogateescape")  # a ValueError for half a character
    if "\0" in found:
        raise ValueError(f"{where} holds a NUL")
    return found


def integer(data: Any, where: str = "it") -> int:
    """Take a whole number of at most 64 bits; true and false are not numbers."""
    found = _of(int, data, where, "a whole number")
    if found.bit_length() > _MOST_BITS:
        raise ValueError(f"{where} has more than {_MOST_BITS} bits")
    return found


def mapping(data: Any, where: str = "it") -> Mapping[str, Any]:
    """Take a mapping; its keys are texts."""
    found: dict[str, Any] = _of(dict, data, where, "a mapping")
    for key in found:
        text(key, f"a key of {where}")
    return found


def sequence(data: Any, where: str = "it") -> list[Any]:
    """Take a list."""
    return _of(list, data, where, "a list")


def of_format(data: Any, number: int) -> Mapping[str, Any]:
    """Accept a mapping whose ``format`` is the known one."""
    found = mapping(data)
    if integer(found.get("format"), "its format") != number:
        raise ValueError(f"unknown format {found['format']}")
    return found


def record(kind: type[_T], data: Any, where: str = "it", *, besides: Collection[str] = ()) -> _T:
    """Turn a mapping into a dataclass; keys other than its fields have to be in ``besides``.

    A field of `LATER` may be missing, as older files lack it. Raises ValueError, with the place,
    for any value of the wrong type, and for a format that is not the class's.
    """
    found = mapping(data, where)
    number = getattr(kind, "FORMAT", 0)
    if number:
        of_format(found, number)
        besides = ("format", *besides)
    hints = _fields(typing.cast("typing.Hashable", kind))
    for key in found:
        if key not in hints and key not in besides:
            raise ValueError(f"{where} has the unknown key `{key[:40]}`")
    made = {}
    for name, (hint, needed) in hints.items():
        if name in found:
            made[name] = value(
                hint, found[name], f"`{name}` of {where}" if where != "it" else f"`{name}`"
            )
        elif needed:
            raise ValueError(f"{where} has no `{name}`")
    return kind(**made)


@lru_cache
def _fields(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    """Return the types of a dataclass' fields, and whether they are required."""
    hints = typing.get_type_hints(kind)
    return {
        each.name: (hints[each.name], not each.metadata.get("later", False))
        for each in fields(kind)
    }


_PLAIN: Mapping[Any, Callable[[Any, str], Any]] = {
    str: text,
    int: integer,
    Any: lambda data, _: data,
}


def value(hint: Any, data: Any, where: str = "it") -> Any:
    """Accept data for a type: a plain one, a dataclass, or a container of them."""
    if hint in _PLAIN:
        return _PLAIN[hint](data, where)
    if hint is bool:
        return _of(bool, data, where, "true or false")
    if hint is float:
        return _float(data, where)
    if is_dataclass(hint):
        kind = typing.cast("type[Any]", hint)
        return data if type(data) is kind else record(kind, data, where)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if data not in inner or type(data) is not str:
            raise _wrong(data, where, " or ".join(f"`{each}`" for each in inner))
        return data
    if origin in (typing.Union, types.UnionType):
        return None if data is None and type(None) in inner else value(inner[0], data, where)
    if origin is tuple:
        return _tuple(inner, data, where)
    return _mapping(inner, data, where)


def _float(data: Any, where: str) -> float:
    if type(data) not in (int, float) or abs(data) > 1 << _MOST_BITS or math.isnan(data):
        raise _wrong(data, where, "a number")
    return float(data)


def _tuple(inner: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    items = sequence(data, where)
    if inner[1:] == (...,):
        return tuple(value(inner[0], each, f"an item of {where}") for each in items)
    if len(items) != len(inner):
        raise ValueError(f"{where} has {len(items)} items instead of {len(inner)}")
    return tuple(value(hint, each, where) for hint, each in zip(inner, items, strict=True))


def _mapping(inner: tuple[Any, ...], data: Any, where: str) -> Mapping[Any, Any]:
    """Accept a mapping; JSON writes numeric keys as texts."""
    found = mapping(data, where)
    if inner[0] is int:
        return {_number(key, where): value(inner[1], each, where) for key, each in found.items()}
    if inner[1] is str:
        for each in found.values():
            text(each, where)
        return found
    return {key: value(inner[1], each, f"`{key}` of {where}") for key, each in found.items()}


def _number(key: str, where: str) -> int:
    if not (key.isascii() and key.isdecimal() and len(key) < 20) or str(int(key)) != key:
        raise ValueError(f"a key of {where} is no number")
    return int(key)


def _of(kind: type[_T], data: Any, where: str, expected: str) -> _T:
    """Accept data of exactly one type."""
    if type(data) is not kind:
        raise _wrong(data, where, expected)
    return data


def _wrong(data: Any, where: str, expected: str) -> ValueError:
    return ValueError(f"{where} is a {type(data).__name__} instead of {expected}")
