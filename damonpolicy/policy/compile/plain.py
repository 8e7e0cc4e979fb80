"""Values of a policy and contents of files, in both directions by the rows of the schema.

Plain files hold one value as it is: they are written and read back by their rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

from pydantic import BaseModel

from damonpolicy.base.units import format_bytes, format_duration, format_percent
from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.schema import ROWS, Row, pattern
from damonpolicy.kernel.damon.view import Kdamonds

__all__ = ("in_order", "key_of", "keys", "plain_files", "plain_keys", "spoken", "value_of")

_SCHEME = pattern(f"{Kdamonds()[0].schemes[0].path}/")
_WHOLE = ("region_count", "watermarks")
"""Mappings that say all of their keys, or are left out."""
_SHARES = {"bp": 10_000, "permil": 1_000}
_KDAMONDS = tuple(each for each in ROWS if each.plain and not each.path.startswith(_SCHEME))
_SCHEMES = tuple(each for each in ROWS if each.plain and each.path.startswith(_SCHEME))


def plain_files(
    model: Any, base: str = ""
) -> Iterator[tuple[str, Callable[[], object], list[str]]]:
    """Yield the path, the value and the key of each plain file of a kdamond, or of a scheme.

    ``base`` is the scheme's directory, or empty. A value is a function, as the field may not have
    been read; it raises Unread then.
    """
    for row in _SCHEMES if base else _KDAMONDS:
        yield _path(row, base), partial(_value, row, model), row.ours.split(".")


def plain_keys(data: dict[str, Any], read: Callable[[str, str], str], base: str = "") -> None:
    """Put into ``data`` what the plain files of a kdamond or scheme say in a policy.

    ``read`` returns the content of a file, or the text that is given where it is missing.
    """
    rows = _SCHEMES if base else _KDAMONDS
    said = {row: read(_path(row, base), row.absent) for row in rows}
    differing = {row.ours.split(".")[0] for row, text in said.items() if text != row.absent}
    for row, text in said.items():
        *inner, last = row.ours.split(".")
        whole = bool(inner) and inner[0] in _WHOLE and inner[0] in differing
        if whole or text != row.absent:
            here = data
            for name in inner:
                here = here.setdefault(name, {})
            here[last] = spoken(row.unit, text)


def in_order(data: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return keys in the order of a model's fields."""
    return {name: data[name] for name in model.model_fields if name in data}


def keys(*files: File) -> dict[str, Any]:
    """Return what some files say in a policy, by their keys there."""
    return {key_of(each): spoken(each.row.unit, each.text) for each in files}


def key_of(file: File) -> str:
    """Return a file's key in its mapping of a policy."""
    return file.row.ours.rpartition(".")[2]


def value_of(file: File, model: Any) -> object:
    """Return what a file is to hold for a field of a model; its default if that is left out."""
    return _held(file.row, getattr(model, key_of(file), None))


def _held(row: Row, value: Any) -> object:
    if value is None:
        return row.absent
    if row.unit == "ms":
        return value // 1_000
    return int(value * _SHARES[row.unit]) if row.unit in _SHARES else value


def spoken(unit: str, content: str) -> Any:
    """Return what a policy says of the content of a file of a unit."""
    if unit == "bool":
        return content == "Y"
    if unit == "text":
        return content
    number = int(content)
    if unit in _SHARES:
        return format_percent(Fraction(number, _SHARES[unit]))
    if unit in ("us", "ms"):
        return format_duration(number * (1_000 if unit == "ms" else 1))
    if unit == "address":
        return f"{number:#x}"
    return format_bytes(number) if unit == "bytes" else number


def _path(row: Row, base: str) -> str:
    if base:
        return f"{base}/{row.path.removeprefix(_SCHEME)}"
    return row.path.removeprefix("*/").replace("*", "0")


def _value(row: Row, model: Any) -> object:
    for name in row.ours.split("."):
        if model is not None:
            model = getattr(model, "limits" if name == "quota" else name)
    return _held(row, model)
