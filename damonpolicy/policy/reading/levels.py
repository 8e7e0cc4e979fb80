"""Hints for keys at the wrong level of a policy."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import pydantic

from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.forms import flow
from damonpolicy.policy.source.nodes import Path

__all__ = ("keys_at", "models_in", "place_of")

_LISTS = {
    "kdamonds": ("a", "kdamond"),
    "schemes": ("a", "scheme"),
    "targets": ("a", "target"),
    "probes": ("a", "probe"),
    "goals": ("a", "goal"),
    "filters": ("a", "filter"),
    "regions": ("a", "range of addresses"),
    "tuning": ("a", "loop of `tuning:`"),
    "to": ("an", "item of `to:`"),
}
"""The name of an item of each list, with its article."""
_FIRST = {(): "name", ("kdamonds",): "ops", ("kdamonds", "schemes"): "action"}
"""A key that is nearly always present at a level, as a landmark."""
_NAMES = tuple[str, ...]


def place_of(path: Path, value: Any, beside: Iterable[str]) -> str:
    """Return the hint with the level that a key belongs to; empty if no level has it.

    ``beside`` are the other keys at the wrong level.
    """
    here = _names(path[:-1])
    places = [each for each in _places().get(str(path[-1]), ()) if each[:1] != ("modules",)]
    if not places:
        return ""
    ways = {each: _way(here, each) for each in places}
    best = min(ways.values())
    chosen = [each for each in places if ways[each] == best]
    usual = [each for each in chosen if "probes" not in each and "tuning" not in each]
    chosen = usual or chosen
    up, down = best
    if not up and down == 1 and len(chosen) == 1 and chosen[0][-1] not in _LISTS:
        parent, shown = chosen[0][-1], flow(value)
        if shown and parent not in beside:
            return f"write `{parent}: {{{path[-1]}: {shown}}}`"
        return f"write it below `{parent}:`"
    if up and not down:
        level = chosen[0]
        beside_it = "name" if path[-1] == _FIRST.get(level) else _FIRST.get(level)
        first = f", beside `{beside_it}:`" if beside_it else ""
        return f"it belongs to {_owner(level)}: write it further up{first}"
    lists = list(dict.fromkeys(each for each in chosen if each and each[-1] in _LISTS))
    if lists and len(lists) == len(chosen):
        owners = [f"{' '.join(_LISTS[each[-1]])}, below `{each[-1]}:`" for each in lists]
        return f"it belongs to {_either(owners)}"
    keys = _either(list(dict.fromkeys(f"`{each[-1]}:`" for each in chosen if each)))
    return f"it belongs below {keys}" + (f" of {_owner(chosen[0])}" if up else "")


def _either(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _way(here: _NAMES, there: _NAMES) -> tuple[int, int]:
    """Return the number of levels up, and then down, from one place to another."""
    common = 0
    while common < min(len(here), len(there)) and here[common] == there[common]:
        common += 1
    return len(here) - common, len(there) - common


def _owner(place: _NAMES) -> str:
    """Return the owner of a place, in words: the policy, or an item of a list."""
    items = (_LISTS[each][1] for each in reversed(place) if each in _LISTS)
    return f"the {next(items, 'policy itself')}"


def _names(path: Path) -> _NAMES:
    return tuple(key for key in path if isinstance(key, str))


@functools.cache
def _places() -> dict[str, tuple[_NAMES, ...]]:
    """Return, for each key, the places that have it, without indexes."""
    found: dict[str, list[_NAMES]] = {"for_each": [("kdamonds",), ("kdamonds", "schemes")]}
    for model, place in _walk(Policy, (), ()):
        for name, field in model.model_fields.items():
            found.setdefault(field.alias or name, []).append(place)
    return {key: tuple(dict.fromkeys(each)) for key, each in found.items()}


def _walk(model: Any, place: _NAMES, above: tuple[Any, ...]) -> Iterator[tuple[Any, _NAMES]]:
    yield model, place
    for name, field in model.model_fields.items():
        for each in models_in(field.annotation):
            if each not in above:
                yield from _walk(each, (*place, field.alias or name), (*above, model))


def keys_at(path: Path) -> Iterator[str]:
    """Yield the keys of the models at a path."""
    models: list[Any] = [Policy]
    for key in path:
        if isinstance(key, str):
            fields = [each for model in models for each in model.model_fields.items()]
            own = [field for name, field in fields if (field.alias or name) == key]
            models = [each for field in own for each in models_in(field.annotation)]
    for model in models:
        yield from ((field.alias or name) for name, field in model.model_fields.items())
        if model in (Kdamond, Scheme):
            yield "for_each"


def models_in(annotation: Any) -> list[Any]:
    """Return the models that a field's type consists of."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated or origin in (typing.Union, types.UnionType, tuple):
        return [model for each in typing.get_args(annotation) for model in models_in(each)]
    return []
