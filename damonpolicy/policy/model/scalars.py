"""Types of scalars: the reader of a field's raw text, and its JSON Schema for editors.

The hint for a scalar that a field cannot read is a corrected one, if that is readable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache, partial
from math import ceil, floor
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    ModelWrapValidatorHandler,
    Tag,
    WithJsonSchema,
    create_model,
    model_validator,
)

from damonpolicy.base import limits, units
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import UnitError
from damonpolicy.policy.source.characters import ascii_like
from damonpolicy.policy.source.nodes import Hole
from damonpolicy.policy.source.template import SHELL

__all__ = (
    "SIZE",
    "TIME",
    "Address",
    "Age",
    "AgeText",
    "Bytes",
    "Count",
    "Cpus",
    "Duration",
    "Flag",
    "Model",
    "Name",
    "Node",
    "Percent",
    "Pid",
    "Rate",
    "RateText",
    "ScalarOr",
    "ScalarOrList",
    "SomeText",
    "Text",
    "Unread",
    "Weight",
    "between",
    "correction",
    "quantity",
    "scalar",
    "up_to",
)


class Unread(Exception):
    """Raised for access to a field that could not be read."""


class Model(BaseModel):
    """The base of all models of a policy: frozen, and without unknown keys.

    If the data has a `Hole` for a field, the model is read without it, and access to that field
    raises `Unread`, so that everything else can be checked.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _with_holes(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict) or not any(isinstance(each, Hole) for each in data.values()):
            return handler(data)
        holes = {
            name: data[key]
            for name, field in cls.model_fields.items()
            if isinstance(data.get(key := field.alias or name), Hole)
        }
        rest = {key: value for key, value in data.items() if not isinstance(value, Hole)}
        needed = frozenset(name for name in holes if cls.model_fields[name].is_required())
        model = _without(cls, needed).model_validate(rest) if needed else handler(rest)
        for name, hole in holes.items():
            model.__dict__.pop(name, None)
            if hole is Hole.WRONG:
                model.model_fields_set.add(name)
        return model

    def known(self, name: str, default: Any = None) -> Any:
        """Return a field, or ``default`` if it could not be read."""
        return self.__dict__.get(name, default)

    def says(self, name: str) -> bool:
        """Return whether a field is present and readable."""
        return name in self.model_fields_set and name in self.__dict__

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise Unread(name)
            return super().__getattr__(name)


@cache
def _without(model: type[Model], names: frozenset[str]) -> type[Any]:
    """Return the same model with some fields allowed to be missing."""
    fields: dict[str, Any] = dict.fromkeys(names, (Any, None))
    return create_model(f"{model.__name__}WithHoles", __base__=model, **fields)


def _shape(value: Any) -> str:
    """Return the alternative of a union that a value belongs to: a scalar, a mapping or a list.

    For pydantic's callable discriminators, so that errors are about one alternative only.
    """
    if isinstance(value, (dict, BaseModel)):
        return "mapping"
    return "list" if isinstance(value, list) else "scalar"


_THOUSANDS = {"k": 1_000, "K": 1_000, "M": 1_000_000}


def correction(text: str, read: Callable[[str], Any]) -> str:
    """Return the first similar text that ``read`` accepts; empty if there is none."""
    for each in _candidates(text):
        if each != text:
            try:
                read(each)
            except UnitError:
                continue
            return each
    return ""


def _candidates(text: str) -> Iterator[str]:
    plain = ascii_like(text).strip(" \"'`")
    yield plain
    if re.match(r"\d{1,3}(,\d{3})+(?!\d)", plain):
        yield plain.replace(",", "")
    yield re.sub(r"(\d),(\d)", r"\1.\2", plain)
    yield plain.removesuffix(".0").removesuffix(".00")
    if found := re.fullmatch(r"(\d{1,6}) ?([kKM])", plain):
        yield str(int(found[1]) * _THOUSANDS[found[2]])
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", plain):
        yield str(int(plain, 16))
    if found := re.fullmatch(r"(\d{1,6})e(\d{1,2})", plain):
        yield found[1] + "0" * int(found[2])
    if found := re.fullmatch(r"(?:node|cpus?|pid) ?(\d+(?:-\d+)?)", plain.lower()):
        yield found[1]
    if found := re.fullmatch(r"(\d+) ?(?:aggr?s?|intervals?)", plain.lower()):
        yield f"{found[1]} aggregations"
    if re.fullmatch(r"-\d+(\.\d+)? ?[A-Za-z]+", plain):  # no quantity is negative
        yield plain[1:]
    yield re.sub(r"^[<>=~≤≥ ]+", "", plain)
    if found := re.fullmatch(r"([0-9a-fA-F]{4,16})h?", plain):
        yield f"0x{found[1]}"
    yield re.sub(r"(\d)\.\.+(\d)", r"\1-\2", plain)
    if re.search(r"\d ?M\b", plain):  # a minute, a month or a million
        return
    yield plain.replace(" ", "").lower() if plain[:1].isdigit() else plain.lower()


def _validate(read: Callable[[str], Any], value: Any) -> Any:
    """Read a scalar; the hint for a wrong one is a corrected one, if there is one."""
    if isinstance(value, str):
        try:
            return read(value)
        except UnitError as error:
            if shell := re.fullmatch(SHELL, value):
                hint = f'write `"{{{{ {shell[1]} }}}}"`'
                raise UnitError(error.code, error.message, hint) from error
            if meant := correction(value, read):
                raise UnitError(error.code, error.message, f"write `{meant}`") from error
            raise
    if isinstance(value, (dict, list)):
        message = f"a single value is expected here, not a {_shape(value)}"
        raise UnitError("DP0103", message, "write one value")
    return value


def between(low: int, high: int) -> dict[str, Any]:
    """Return a schema of the numbers between two bounds."""
    return {"type": "integer", "minimum": low, "maximum": high}


def up_to(most: int) -> str:
    """Return a pattern of the whole numbers up to one, without needless zeros before them."""
    digits = str(most)
    found = ["0", f"[1-9][0-9]{{0,{len(digits) - 2}}}", digits]
    for place, digit in enumerate(digits):
        low, high = int(place == 0), int(digit) - 1
        if low <= high:
            found.append(f"{digits[:place]}[{low}-{high}][0-9]{{{len(digits) - place - 1}}}")
    return "|".join(found)


def _parts(units_: Iterable[str]) -> str:
    """Return a pattern of quantities from the largest unit to the smallest, each at most once."""
    parts = [f"{_NUMBER} ?{unit}" for unit in units_]
    return f"(?=[0-9])(?:{parts[0]})?" + "".join(f"(?: ?{each})?" for each in parts[1:])


_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DECIMAL = "(?!0[0-9])"
"""Numbers that begin with a 0, like octal ones, are refused (`units`)."""


def _schema(pattern: str) -> dict[str, Any]:
    """Return the schema of a text; a template is always allowed."""
    # in Python `$` would be before a newline, too
    return {"type": "string", "pattern": rf"^(?:{pattern})(?![\s\S])|\{{\{{"}


def scalar(
    read: Callable[[str], Any],
    pattern: str,
    *,
    number: dict[str, Any] | None = None,
    example: str = "",
) -> tuple[BeforeValidator, WithJsonSchema]:
    """Build the two annotations of a scalar type: its reader, and its JSON Schema for editors."""
    text = _schema(pattern)
    schema: dict[str, Any] = {"anyOf": [text, number]} if number else text
    if example:
        schema["examples"] = [example]
    return BeforeValidator(partial(_validate, read)), WithJsonSchema(schema)


def quantity(
    read: Callable[[str], Any], pattern: str, example: str
) -> tuple[BeforeValidator, WithJsonSchema]:
    """Build the annotations of a quantity; without a unit, it can only be YAML's number 0."""
    return scalar(read, pattern, number={"const": 0}, example=example)


def _text(text: str) -> str:
    if len(text) > limits.TEXT.most:
        raise UnitError("DP0119", f"this text is longer than {limits.TEXT.most} characters")
    if "\0" in text:
        raise UnitError("DP0119", "this text holds a NUL")
    return text


def _some_text(text: str) -> str:
    if not text:
        raise UnitError("DP0105", "this is empty", "write a value, or leave the key out")
    return _text(text)


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text):
        meant = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._")[:63]
        rule = "up to 63 letters, digits, `-`, `_` and `.`, a letter or digit first"
        hint = f"write `{meant}`: {rule}" if meant else rule
        raise UnitError("DP0120", f"`{text[:40]}` is not a name", hint)
    return text


def _whole(what: str, most: int, least: int = 0) -> tuple[BeforeValidator, WithJsonSchema]:
    """Build the annotations of a whole number within two bounds."""
    pattern = f"(?!0)(?:{up_to(most)})" if least else up_to(most)
    read = partial(units.read_integer, low=least, high=most, what=what)
    return scalar(read, pattern, number=between(least, most))


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
SIZE = rf"{_DECIMAL}{_NUMBER} ?(?:B|KiB|MiB|GiB|TiB|PiB)|0"
TIME = rf"{_DECIMAL}{_parts(reversed(units.DURATIONS))}|0"
_PERCENT = r"(?:(?:[0-9]|[1-9][0-9])(?:\.[0-9]+)?|100(?:\.0+)?) ?%"
_ANY = {"type": ["number", "boolean"]}
"""YAML's numbers and booleans are text, too."""

Text: TypeAlias = Annotated[str, *scalar(_text, r"[^\u0000]*", number=_ANY)]
SomeText: TypeAlias = Annotated[str, *scalar(_some_text, r"[^\u0000]+", number=_ANY)]
"""Text that is not empty: an empty condition would match everything."""
Name: TypeAlias = Annotated[str, *scalar(_name, _NAME, number={**_ANY, "minimum": 0})]
Flag: TypeAlias = Annotated[
    bool,
    BeforeValidator(partial(_validate, units.read_bool)),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, _schema("true|false")]}),
]
Count: TypeAlias = Annotated[int, *_whole("a count", units.U32_MAX)]
"""A number that the kernel holds in 32 bits."""
Bytes: TypeAlias = Annotated[int, *quantity(units.read_bytes, SIZE, "200MiB")]
"""Bytes."""
Duration: TypeAlias = Annotated[int, *quantity(units.read_duration, TIME, "100ms")]
"""Microseconds."""
Percent: TypeAlias = Annotated[Fraction, *quantity(units.read_percent, f"{_PERCENT}|0", "5%")]
"""A fraction of one, 0 to 1."""
_ADDRESS = rf"0[xX][0-9a-fA-F]+|{up_to(units.U64_MAX)}|{SIZE}"
Address: TypeAlias = Annotated[
    int, *scalar(units.read_address, _ADDRESS, number=between(0, units.U64_MAX), example="4GiB")
]
"""Bytes."""
_RANGE = r"[0-9]{1,5}(?:-[0-9]{1,5})?"
Cpus: TypeAlias = Annotated[
    tuple[int, ...],
    *scalar(
        units.read_cpulist,
        rf"{_RANGE}(?: ?, ?{_RANGE})*",
        number=between(0, limits.CPUS.most - 1),
        example="0-3,8",
    ),
]
"""CPU numbers in ascending order."""
Node: TypeAlias = Annotated[int, *_whole("the number of a node", 1023)]
Pid: TypeAlias = Annotated[int, *_whole("a process id", 1 << 22, least=1)]
Weight: TypeAlias = Annotated[int, *_whole("a weight", 1000)]
"""0 to 1000."""


@dataclass(frozen=True, slots=True)
class Age:
    """An age in microseconds, or in aggregations where ``aggregations`` is true."""

    value: int
    aggregations: bool = False

    def least(self, of: int) -> int:
        """Return the fewest aggregations of the given microseconds that are at least this."""
        return self.value if self.aggregations else min(-(-self.value // of), units.U32_MAX)

    def most(self, of: int) -> int:
        """Return the most aggregations of the given microseconds that are at most this."""
        return self.value if self.aggregations else min(self.value // of, units.U32_MAX)


def read_age(text: str) -> Age:
    if found := re.fullmatch(r"([0-9]+) aggregations?", text):
        return Age(_counted(found[1]), aggregations=True)
    return Age(units.read_duration(text))


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of samples, or their number where ``samples`` is true."""

    value: Fraction
    samples: bool = False

    def least(self, of: int) -> int:
        """Return the fewest of the given samples that are at least this."""
        return int(self.value) if self.samples else ceil(self.value * of)

    def most(self, of: int) -> int:
        """Return the most of the given samples that are at most this."""
        return int(self.value) if self.samples else floor(self.value * of)


def read_rate(text: str) -> Rate:
    if found := re.fullmatch(r"([0-9]+) samples?", text):
        return Rate(Fraction(_counted(found[1])), samples=True)
    return Rate(units.read_percent(text))


def _counted(text: str) -> int:
    """Read a count: files hold 64 bits; rules check the kernel's handling of more than 32."""
    return units.read_integer(text, what="a count")


_COUNTED = f"(?:{up_to(units.U64_MAX)})"
AgeText: TypeAlias = Annotated[Age, *quantity(read_age, rf"{TIME}|{_COUNTED} aggregations?", "2m")]
RateText: TypeAlias = Annotated[
    Rate, *quantity(read_rate, rf"{_PERCENT}|{_COUNTED} samples?|0", "5%")
]

One = TypeVar("One")
Other = TypeVar("Other")
ScalarOr: TypeAlias = Annotated[
    Annotated[One, Tag("scalar")] | Annotated[Other, Tag("mapping")], Discriminator(_shape)
]
"""A scalar or a mapping."""
ScalarOrList: TypeAlias = Annotated[
    Annotated[One, Tag("scalar")] | Annotated[tuple[Other, ...], Tag("list")],
    Discriminator(_shape),
]
"""A scalar or a list."""
