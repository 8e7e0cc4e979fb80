"""Helpers for rules: a rule ends quietly at a value that could not be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from typing import Generic, ParamSpec, TypeAlias, TypeVar

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.policy.model.scalars import Model, Unread

__all__ = ("Findings", "Rules", "label", "readable", "rule")

Findings: TypeAlias = Iterator[Diagnostic]
"""What a rule yields."""
P = ParamSpec("P")
M = TypeVar("M", bound=Model)


def rule(function: Callable[P, Findings]) -> Callable[P, Findings]:
    """End one rule, but not the others, at a field that could not be read."""

    @wraps(function)
    def guarded(*arguments: P.args, **options: P.kwargs) -> Findings:
        with suppress(Unread):  # an error has reported it
            yield from function(*arguments, **options)

    return guarded


class Rules(Generic[P]):
    """All rules on one part of a policy, which take the same arguments."""

    def __init__(self) -> None:
        self._rules: list[Callable[P, Findings]] = []

    def add(self, function: Callable[P, Findings]) -> Callable[P, Findings]:
        """Add a rule; it ends, but not the others, at a field that could not be read."""
        self._rules.append(rule(function))
        return self._rules[-1]

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> Findings:
        for each in self._rules:
            yield from each(*arguments, **options)


def label(what: str, name: Callable[[], str]) -> str:
    """Return the name of something for a message, if that could be read."""
    try:
        return f"{what} `{name()}`"
    except Unread:
        return what


def readable(items: Iterable[M], *names: str) -> Iterator[tuple[int, M]]:
    """Yield the items with all named fields or properties readable, with their indexes."""
    for index, each in enumerate(items):
        try:
            for name in names:
                getattr(each, name)
        except Unread:
            continue
        yield index, each
