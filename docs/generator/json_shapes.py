"""What the JSON documents of commands look like: as they are really printed, and by their types."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from generator.json_runs import documents
from generator.json_samples import OPEN, SAMPLES, TYPED
from generator.json_words import KERNELS, REMARKS, WORDS

__all__ = (
    "BY_NAME",
    "Shape",
    "commands",
    "envelope",
    "listed",
    "may_be_more",
    "of_value",
    "place",
    "said",
    "unused",
)

BY_NAME = {
    "init.policies": "NAME",
    "show.policies.variables": "NAME",
    "status.policies": "NAME",
    "features.features": "FEATURE",
    "status.service.reloads": "RESULT",
    "status.service.feeds": "GOAL",
    "status.service.jobs": "JOB",
    "status.service.schemes": "SCHEME",
    "status.service.loops": "LOOP",
    "status.service.errors": "LOOP",
    "report snapshot.snapshots.regions.probe_hits": "PROBE",
}
"""Mappings whose keys are data."""

_UNITS = ("_bytes", "_us", "_ms", "_ns", "_permil", "_percent", "_per_second")
"""What the name of a number ends in that says its unit."""

_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
_USED: set[str | None] = set()
"""The keys of texts and words that were looked up."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the values at a place are; types have the names of JSON Schema.

    An object with data for keys has one key, which is in capitals.
    """

    types: frozenset[str] = frozenset()
    keys: Mapping[str, Shape] = field(default_factory=dict)
    together: tuple[frozenset[str], ...] = ()
    """The sets of keys that objects have, each once."""
    items: Shape | None = None

    @property
    def number(self) -> bool:
        """Whether it may be a number."""
        return not self.types.isdisjoint(("integer", "number"))

    @property
    def always(self) -> list[str]:
        """The keys that no object lacks."""
        return [key for key in self.keys if all(key in each for each in self.together)]

    @property
    def least(self) -> list[frozenset[str]]:
        """The sets of keys of which an object has one at least, and maybe more."""
        return [a for a in self.together if not any(b < a for b in self.together)]

    def forms(self) -> list[Shape]:
        """Return the forms that an object can have: none has all the keys that another needs."""
        alike: dict[frozenset[str], list[frozenset[str]]] = {}
        for each in self.least:
            more = [other for other in self.together if each <= other]
            alike.setdefault(frozenset().union(*more), []).extend(more)
        return [
            Shape(self.types, {key: self.keys[key] for key in self.keys if key in every}, _once(sets))
            for every, sets in alike.items()
        ]  # fmt: skip


def _once(sets: Iterable[frozenset[str]]) -> tuple[frozenset[str], ...]:
    return tuple(dict.fromkeys(sets))


def merged(*shapes: Shape) -> Shape:
    """Return one shape for all; keys are in the order of the one that has most."""
    most = sorted((each.keys for each in shapes), key=len, reverse=True)
    keys = dict.fromkeys(key for each in most for key in each)
    items = [each.items for each in shapes if each.items is not None]
    return Shape(
        frozenset().union(*(each.types for each in shapes)),
        {key: merged(*(each[key] for each in most if key in each)) for key in keys},
        _once(keys for each in shapes for keys in each.together),
        merged(*items) if items else None,
    )


def of_value(value: Any, path: str) -> Shape:
    """Return the shape of what was printed, and of what else the place can hold.

    Raises SystemExit for a text that is not one of the words that are listed for it.
    """
    if isinstance(value, list):
        items = [*(of_value(each, path) for each in value), *_besides(path)]
        return Shape(frozenset({"array"}), items=merged(*items) if items else None)
    return merged(_of_value(value, path), *_besides(path))


def _of_value(value: Any, path: str) -> Shape:
    if isinstance(value, dict):
        return _object(value, path, of_value)
    if isinstance(value, str) and path.rpartition(".")[2].islower():
        _listed(value, path)
    return Shape(frozenset({_TYPES[type(value)]}))


@cache
def _besides(path: str) -> tuple[Shape, ...]:
    """Return what no run shows, or not every one."""
    samples = [_of_value(each, path) for each in SAMPLES.get(path, ())]
    return (*samples, of_type(TYPED[path], path)) if path in TYPED else tuple(samples)


def of_type(hint: Any, path: str) -> Shape:
    """Return the shape of what the code has a type for."""
    if hint in _TYPES:
        return Shape(frozenset({_TYPES[hint]}))
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return merged(*(_of_value(each, path) for each in inner))
    if origin in (typing.Union, types.UnionType):
        return merged(*(of_type(each, path) for each in inner))
    if origin is tuple:
        return Shape(frozenset({"array"}), items=of_type(inner[0], path))
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        later = {each.name for each in fields(hint) if each.metadata.get("later")}
        least = {name: each for name, each in hints.items() if name not in later}
        return merged(_object(hints, path, of_type), _object(least, path, of_type))
    return _object({"": inner[1]}, path, of_type)


def _object(inner: Mapping[str, Any], path: str, get: Callable[[Any, str], Shape]) -> Shape:
    name = BY_NAME.get(path)
    if name is None:
        keys = {key: get(each, f"{path}.{key}") for key, each in inner.items()}
        return Shape(frozenset({"object"}), keys, (frozenset(keys),))
    for key in inner:
        _listed(key, f"{path}.{name}")
    shapes = [get(each, f"{path}.{name}") for each in inner.values()]
    return Shape(frozenset({"object"}), {name: merged(*shapes)} if shapes else {})


@cache
def envelope() -> Shape:
    """Return the shape of documents, without the data of their commands."""
    every = [{**each, "data": None} for found in documents().values() for each in found]
    heads = [of_value({**each, "diagnostics": []}, "") for each in every]
    found = merged(*(of_value(each["diagnostics"], "diagnostics") for each in every))
    head = merged(*heads)
    return Shape(head.types, {**head.keys, "diagnostics": found}, head.together)


@cache
def commands() -> Mapping[str, Shape]:
    """Return the shape of each command's data; what several have of plans is that of all."""
    found = {
        name: merged(*(of_value(each["data"], name) for each in listed))
        for name, listed in documents().items()
        if name != "schema"
    }
    keys = found["plan"].keys
    having = {name: each for name, each in found.items() if keys.keys() <= each.keys.keys()}
    plan = merged(*having.values())
    for name, each in having.items():
        every = {
            key: plan.keys[key] if key in keys else each.keys[key] for key in {**keys, **each.keys}
        }
        found[name] = Shape(each.types, every, each.together)
    return found


def place(path: str, key: str) -> str:
    """Return the place of a key, by which it is explained: plans are explained at `plan`."""
    plan = commands()["plan"].keys
    shared = path in commands() and key in plan and plan.keys() <= commands()[path].keys.keys()
    return f"plan.{key}" if shared else f"{path}.{key}"


def _listed(word: str, path: str) -> None:
    words = _words(path)
    if words and word and word not in words:
        raise SystemExit(f"`{path}` can be `{word}`, and the words that are listed are {words}")


@cache
def _texts() -> Mapping[str, str | list[str]]:
    path = Path(__file__).resolve().parents[1] / "texts/json.toml"
    return {**tomllib.loads(path.read_text(encoding="utf-8")), **REMARKS}


def _words(path: str) -> Sequence[str]:
    """Return the words that a text is one of: from the code, or listed where the code has no list."""
    found = _of(path, {**_texts(), **WORDS})
    return () if isinstance(found, str) or found is None else found


def _of(path: str, table: Mapping[str, Any], *, least: int = 1) -> Any:
    """Return what a table has for a path, or for the longest end of it with so many keys."""
    keys = path.split(".")
    ends = (".".join(keys[first:]) for first in range(len(keys) - least + 1))
    found = next((each for each in ends if each in table), None)
    _USED.add(found)
    return None if found is None else table[found]


def said(path: str, shape: Shape) -> tuple[str, Sequence[str]]:
    """Return what a value means, and the words that it is one of.

    Raises SystemExit where a number's unit is not said.
    """
    while shape.items is not None:
        shape = shape.items
    key = path.rpartition(".")[2]
    text = _of(path, {**_texts(), **OPEN}, least=1 if shape.number else 2)
    text = text if isinstance(text, str) else ""
    if shape.number and not text and not key.endswith(_UNITS):
        raise SystemExit(f"docs/texts/json.toml says nothing of `{path}`")
    return text, _words(path) if "string" in shape.types or key.isupper() else ()


def listed(path: str, words: Sequence[str]) -> str:
    """Say which words these are."""
    *most, last = words
    text = f"{', '.join(most)} or {last}" if most else last
    return f"{text}; newer kernels may have more" if may_be_more(path) else text


def may_be_more(path: str) -> bool:
    """Whether words are the kernel's, which may have others than those that are listed."""
    return _of(path, dict.fromkeys(KERNELS, True)) is not None


def unused() -> list[str]:
    """Return the texts and words that no document has, once all were looked up."""
    return sorted({*_texts(), *WORDS} - _USED)
