"""Values of a description, taken and checked one by one: tables, and readers of their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import UnitError, read_cpulist

__all__ = ("Table", "between", "cpus", "exactly", "real", "whole")


class Table:
    """A table of the description, whose keys are taken one by one, to find unknown ones."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise UsageError(f"the machine's `{where or 'description'}` is not a table")
        self.value, self.where, self.known = value, where, set[str]()

    def take(self, key: str, reader: Any, default: Any = None) -> Any:
        """Return one value, read by ``reader``; raises UsageError if it cannot be read."""
        self.known.add(key)
        if key not in self.value:
            return default
        where = f"{self.where}.{key}".lstrip(".")
        try:
            return reader(self.value[key])
        except UnitError as error:
            raise UsageError(
                f"the machine's `{where}`: {error.message}", hint=error.hint
            ) from error
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"the machine's `{where}` cannot be read: {error}") from error

    def each(self, key: str) -> Iterator[Table]:
        """Return the tables of a list."""
        found = self.take(key, exactly(list), [])
        for index, value in enumerate(found):
            yield Table(value, f"{self.where}.{key}[{index}]".lstrip("."))

    def end(self) -> None:
        """Raise UsageError for unknown keys."""
        for key in self.value:
            if key not in self.known:
                raise UsageError(
                    f"a machine has no `{f'{self.where}.{key}'.lstrip('.')}`",
                    hint="known are " + ", ".join(f"`{each}`" for each in sorted(self.known)),
                )


def exactly(kind: type) -> Any:
    """Take values of one type alone."""

    def reader(value: object) -> object:
        if type(value) is not kind:
            message = f"this is not a {kind.__name__}"
            raise TypeError(message)
        return value

    return reader


def between(least: float, most: float, reader: Any, sentence: str) -> Any:
    """Check the range of ``reader``'s result; NaN is out of range."""

    def checked(value: object) -> Any:
        found = reader(value)
        if not least <= found <= most:
            raise ValueError(sentence)
        return found

    return checked


def whole(reader: Any) -> Any:
    """Accept whole numbers, and texts with units."""

    def convert(value: object) -> Any:
        return value if type(value) is int else reader(exactly(str)(value))

    return convert


def real(reader: Any, scale: float = 1) -> Any:
    """Accept numbers, and texts with units."""

    def convert(value: object) -> Any:
        if type(value) in (int, float):
            return float(value)  # type: ignore[arg-type]  # as was just asked
        return float(reader(exactly(str)(value)) / scale)

    return convert


def cpus(value: object) -> tuple[int, ...]:
    """Read a list of CPUs, which may be empty."""
    return read_cpulist(exactly(str)(value)) if value != "" else ()
