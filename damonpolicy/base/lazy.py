"""Dataclasses whose methods are generated on first use.

`dataclasses.dataclass` compiles six methods for each class, about a third of a millisecond. A
command imports a hundred classes and makes instances of few. This decorator has the same meaning,
but waits: for the first instance, or for `dataclasses.fields`.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

__all__ = ("dataclass",)

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, **options: Any) -> Any:
        """Do what `dataclasses.dataclass` does, later."""
        if cls is not None:
            return _deferred(cls, options)
        return lambda cls: _deferred(cls, options)


_GENERATED = (
    "__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__",
    "__setattr__", "__delattr__", "__match_args__", "__dataclass_fields__", "__dataclass_params__",
)  # fmt: skip
_LOCK = threading.RLock()


class _Later:
    """An attribute of a class that exists once its methods are generated."""

    def __init__(self, name: str, generate: Callable[[], None]) -> None:
        self.name, self.generate = name, generate

    def __get__(self, instance: object, owner: type) -> Any:
        self.generate()
        return getattr(owner, self.name)


def _deferred(source: type, options: dict[str, Any]) -> type:
    """Return ``source`` with slots, if wanted, and with methods that are generated later."""
    result = _slotted(source) if options.pop("slots", False) else source
    pending = [source]

    def generate() -> None:
        with _LOCK:
            if not pending:
                return
            if source is result:
                for name in _PLACEHOLDERS:
                    delattr(result, name)
            made: type = dataclasses.dataclass(**options)(pending.pop())
            for name in _GENERATED:
                if name in vars(made):
                    setattr(result, name, vars(made)[name])

    def initialize(self: Any, *arguments: Any, **named: Any) -> None:
        generate()
        vars(result)["__init__"](self, *arguments, **named)

    result.__init__ = initialize  # type: ignore[misc]  # `generate` replaces it
    for name in _PLACEHOLDERS[1:]:
        setattr(result, name, _Later(name, generate))
    return result


_PLACEHOLDERS = ("__init__", "__match_args__", "__dataclass_fields__", "__dataclass_params__")


def _slotted(source: type) -> type:
    """Return a copy of a class with slots for its fields, which have no defaults there."""
    inherited = {name for base in source.__mro__[1:] for name in getattr(base, "__slots__", ())}
    fields = [
        name
        for name, kind in source.__annotations__.items()
        if not str(kind).startswith("ClassVar")
    ]
    hidden = {*fields, "__dict__", "__weakref__"}
    namespace = {name: value for name, value in vars(source).items() if name not in hidden}
    namespace["__slots__"] = tuple(name for name in fields if name not in inherited)
    result = type(source)(source.__name__, source.__bases__, namespace)
    result.__qualname__ = source.__qualname__
    for name, method in (("__getstate__", _state), ("__setstate__", _restore)):
        setattr(result, name, method)  # as the usual ones cannot set what is frozen
    return result


def _state(self: Any) -> list[Any]:
    """Return what `copy` and `pickle` keep of an object with slots."""
    return [getattr(self, each.name) for each in dataclasses.fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for each, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)
