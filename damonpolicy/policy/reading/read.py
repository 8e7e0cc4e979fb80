"""Conversion of plain data to models, with every error at its place.

pydantic finds all errors, but its messages do not help users: each error becomes a diagnostic of
ours. The wrong value then becomes a hole and the rest is read again, so that the rules, which need
models, also check everything that was right.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import pydantic

from damonpolicy.base import limits
from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import UnitError
from damonpolicy.kernel.damon import modules
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.reading import forms, hints
from damonpolicy.policy.reading.levels import keys_at
from damonpolicy.policy.source.nodes import Data, Hole, Path, Places

__all__ = ("Cursor", "Read", "read_policy")

_MOST_ROUNDS = 100
_OF_ANY_NAME = ("vars", "settings")
"""Keys of a policy with names below them that users choose."""
_EXPECTED = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a mapping"),
    "tuple_type": "a list",
}
"""What a field takes, by pydantic's kind of error."""
_KERNEL_FILTER = "kernel_filter"
"""Our own kind of error, beside pydantic's."""


@dataclass(frozen=True, slots=True)
class Read:
    """The readable part of a policy, and the place of each part."""

    policy: Policy
    places: Places
    lost: frozenset[Path]
    """The parts that were cut out because of an error, and their containers."""
    document: _Document

    @property
    def cursor(self) -> Cursor:
        """The whole document as a place."""
        return Cursor(self, ())


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a document; rules move between places by keys and indexes."""

    read: Read
    path: Path

    def __call__(self, *keys: str | int) -> Cursor:
        return Cursor(self.read, (*self.path, *keys))

    @property
    def value(self) -> Span:
        """The place of the value, or of its container."""
        return self.read.places.value(self.read.document.origin(self.path))

    @property
    def key(self) -> Span:
        """The place of the value's key."""
        return self.read.places.key(self.read.document.origin(self.path))

    @property
    def spot(self) -> Span:
        """The place to point at: a scalar itself, but the key of a mapping or a list."""
        origin = self.read.document.origin(self.path)
        return self.key if origin in self.read.places.filled else self.value

    @property
    def lost(self) -> bool:
        """Whether something at or below this place was cut out because of an error."""
        return self.read.document.origin(self.path) in self.read.lost


def read_policy(data: Data, places: Places) -> tuple[Read | None, list[Diagnostic]]:
    """Read one policy; None if no part could be read."""
    found: list[Diagnostic] = []
    document = _Document(data)
    for path in sorted(_holes(data, ()), key=_depth_first):
        document.cut(path)
    for _ in range(_MOST_ROUNDS):
        try:
            policy = Policy.model_validate(data)
        except pydantic.ValidationError as error:
            problems = list(_gathered(error.errors(include_url=False), data))
            renamed = _renamed(problems, data)
            for path, each in problems:
                if each["type"] == "missing":
                    lacking = [n for n in each["ctx"]["names"] if (*path[:-1], n) not in renamed]
                    each["ctx"]["lacking"] = lacking
                    if not lacking:
                        continue
                origin = document.origin(path)
                if document.lost.isdisjoint(_above(origin)):
                    found.append(_diagnostic(origin, each, places))
                if len(found) > limits.FINDINGS.most:
                    message = "more is wrong: reading the policy stops here"
                    found.append(Diagnostic.error("DP0035", places.value(origin), message))
                    return None, found
            for path, each in sorted(problems, key=lambda pair: _depth_first(pair[0])):
                if not path:
                    return None, found
                names = each["ctx"]["names"] if each["type"] == "missing" else path[-1:]
                for name in names:
                    document.cut((*path[:-1], name), each["type"])
            for there in renamed:
                document.cut(there)
        else:
            lost = frozenset(above for path in document.lost for above in _above(path))
            return Read(policy, places, lost, document), found
    return None, found


def _above(path: Path) -> Iterator[Path]:
    """Yield a path and all that contain it."""
    return (path[:length] for length in range(len(path) + 1))


def _renamed(problems: list[tuple[Path, Any]], data: Data) -> set[Path]:
    """Return the paths of keys that are present under another name, and so not missing."""
    found: set[Path] = set()
    for path, each in problems:
        if each["type"] == "extra_forbidden" and path[:1] != ("modules",):
            meant = hints.meant_key(path, keys_at(path[:-1]))
            if meant and meant not in _at(data, path[:-1]):
                found.add((*path[:-1], meant))
    return found


def _gathered(errors: list[Any], data: Data) -> Iterator[tuple[Path, Any]]:
    """Yield the errors with their paths; several errors of one mistake are merged."""
    seen: dict[Path, list[str]] = {}
    for each in errors:
        path = _resolve(each, data)
        item = next((path[: at + 2] for at, key in enumerate(path) if key == "filters"), ())
        parent = path[:-1]
        if item and item != path and hints.is_kernel_filter(given := _at(data, item)):
            if item not in seen:
                yield item, {"type": _KERNEL_FILTER, "input": given}
            seen[item] = []
        elif each["type"] != "missing":
            yield path, each
        elif parent in seen:
            seen[parent].append(str(path[-1]))
        else:
            seen[parent] = [str(path[-1])]
            yield path, {**each, "ctx": {"names": seen[parent]}}


def _at(data: Data, path: Path) -> Any:
    return reduce(_inside, path, data)


class _Document:
    """The data of a document from which wrong values are cut, and the original indexes in lists."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.lost: set[Path] = set()
        """The original paths of what was cut out."""
        self._lists: dict[int, list[int]] = {}
        """Original indexes by the identity of the list, which lives as long as the data."""

    def origin(self, path: Path) -> Path:
        """Return the path of the same thing in the document as it was written."""
        node: Any = self.data
        result: Path = ()
        for key in path:
            known = self._lists.get(id(node), ()) if isinstance(node, list) else ()
            inside = isinstance(key, int) and key < len(known)
            result = (*result, known[int(key)] if inside else key)
            node = _inside(node, key)
        return result

    def cut(self, path: Path, kind: str = "") -> None:
        """Remove a wrong item or an unknown key; a known field becomes a hole."""
        self.lost.add(self.origin(path))
        node, last = _at(self.data, path[:-1]), path[-1]
        if isinstance(node, dict):
            if kind == "extra_forbidden" or (path[0] in _OF_ANY_NAME and len(path) == 2):
                node.pop(last, None)
            else:
                node[last] = Hole.MISSING if kind == "missing" else Hole.WRONG
        elif isinstance(node, list) and isinstance(last, int) and last < len(node):
            known = self._lists.setdefault(id(node), list(range(len(node))))
            del known[last], node[last]


def _inside(node: Any, key: str | int) -> Any:
    if isinstance(node, dict):
        return node.get(key)
    if isinstance(node, list) and isinstance(key, int) and key < len(node):
        return node[key]
    return None


def _depth_first(path: Path) -> tuple[int, list[tuple[int, int]]]:
    """Sort so that a cut does not move the next one: later items first."""
    return (
        -len(path),
        [(0, -key) if isinstance(key, int) else (1, 0) for key in path],
    )


def _holes(node: Data, path: Path) -> Iterator[Path]:
    """Yield the places of values that were lost earlier: to YAML or to a template."""
    if isinstance(node, Hole):
        yield path
    pairs = node.items() if isinstance(node, dict) else ()
    items = enumerate(node) if isinstance(node, list) else ()
    for key, each in (*pairs, *items):
        yield from _holes(each, (*path, key))


def _resolve(error: Any, data: Data) -> Path:
    """Drop the names of alternatives, which pydantic puts into its locations."""
    node: Any = data
    path: Path = ()
    location = error["loc"]
    for index, key in enumerate(location):
        if (inside := _inside(node, key)) is not None:
            node, path = inside, (*path, key)
        elif error["type"] == "missing" and index == len(location) - 1:
            path = (*path, key)
    return path


def _diagnostic(path: Path, error: Any, places: Places) -> Diagnostic:
    kind, context = error["type"], error.get("ctx") or {}
    problem, name = context.get("error"), path[-1] if path else ""
    if isinstance(problem, UnitError):
        hint, message = problem.hint, problem.message
        if problem.code == "DP0105" and isinstance(name, str):
            message = f"`{name}` is empty"
        if problem.code == "DP0121":
            hint = hints.bare_number(hints.kernel_unit(path), str(error["input"]), hint)
        hint = _of_a_scalar(path, error["input"], places) or hint
        return places.value(path).error(problem.code, message, hint)
    if kind == "missing":
        where = places.key(path[:-1])
        names = context.get("lacking", [name])
        of = f" of `{path[-2]}`" if len(path) > 1 and isinstance(path[-2], str) else ""
        given = [f"`{each}`" for each in names]
        listed = " and ".join(filter(None, (", ".join(given[:-1]), given[-1])))
        message = f"{listed}{of} {'is' if len(names) == 1 else 'are'} missing"
        return where.error("DP0102", message, hints.missing(path[:-1], names, error["input"]))
    if kind == _KERNEL_FILTER:
        message = "a filter is `allow` or `reject`, and what it looks at"
        return places.value(path).error("DP0103", message, hints.kernel_filter(error["input"]))
    if kind == "extra_forbidden":
        reason = modules.unwritable(str(name)) if path[:1] == ("modules",) and path[2:] else ""
        if reason:
            message = f"`{name}` cannot be set: {reason}"
            return places.key(path).error("DP0254", message, "remove it")
        beside = [str(key[-1]) for key in places.keys if key[:-1] == path[:-1]]
        hint = hints.unknown_key(path, error["input"], keys_at(path[:-1]), beside)
        return places.key(path).error("DP0101", f"unknown key `{name}`", hint)
    if kind == "literal_error":
        return _wrong_word(path, error, places)
    expected = _EXPECTED.get(kind, "something else")
    if kind == "union_tag_invalid":
        tags = context["expected_tags"].replace("'", "").split(", ")
        kinds = {"scalar": "one value", "mapping": "a mapping", "list": "a list"}
        expected = " or ".join(kinds[each] for each in tags)
    named = isinstance(name, str) and name
    message = f"`{name}` takes {expected}" if named else f"{expected} is expected here"
    hint = forms.form(path, error["input"])
    if name == "process" and isinstance(error["input"], str):
        hint = hints.wrong_process(error["input"])
    elif not hint and expected == "a list":
        hint = "begin each item with `- `, or write `[…]`"
    elif not hint and expected == "a mapping" and (keys := list(keys_at(path))):
        hint = "its keys are " + ", ".join(f"`{key}`" for key in keys)
    return places.value(path).error("DP0103", message, hint)


def _of_a_scalar(path: Path, value: Any, places: Places) -> str:
    """Return a hint that depends on the place of a wrong scalar; empty if there is none."""
    if isinstance(value, list):
        items = [forms.flow(each) for each in value if isinstance(each, str)]
        if path[-2:-1] == ("process",) and items:
            key = path[-1]
            return "write `" + ", ".join(f"{{process: {{{key}: {each}}}}}" for each in items) + "`"
        return f"write `{items[0]}`" if len(items) == len(value) == 1 and items[0] else ""
    sized = path[-2:] == ("quota", "size") and isinstance(value, str)
    if not (rate := forms.rate_of(value) if sized else None):
        return ""
    _, amount, every = rate
    beside = (*path[:-1], "every") in places.keys
    return f"write `{amount}`" if beside else f"write `size: {amount}, every: {every}`"


def _wrong_word(path: Path, error: Any, places: Places) -> Diagnostic:
    expected = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
    words = expected.split(", ")
    given = error["input"]
    if not isinstance(given, str):
        kind = "mapping" if isinstance(given, dict) else "list"
        message = f"a single word is expected here, not a {kind}"
        hint = forms.form(path, given) or "one of " + ", ".join(f"`{each}`" for each in words)
        return places.value(path).error("DP0103", message, hint)
    if path == ("version",):
        message = f"`{given[:40]}` is not a version of the policy language"
        return places.value(path).error("DP0126", message, "write `version: 1`")
    named = [key for key in path if isinstance(key, str)]
    of = f" for `{named[-1]}`" if named else ""
    message = f"`{given[:40]}` is not a word{of}"
    return places.value(path).error("DP0104", message, hints.wrong_word(path, given, words))
