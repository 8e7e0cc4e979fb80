"""Options of a command as one object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

__all__ = ("gathered",)


def gathered(kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Hand the options that a dataclass has as fields over as one, the last positional argument.

    It stands directly above a command; all other options stay as they are.
    """
    names = [each.name for each in fields(kind)]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*arguments: Any, **options: Any) -> Any:
            chosen = kind(**{name: options.pop(name) for name in names if name in options})
            return function(*arguments, chosen, **options)

        return called

    return decorate
