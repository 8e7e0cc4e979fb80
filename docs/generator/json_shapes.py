"""The JSON documents: what commands really print on an emulated machine, as shapes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from damonpolicy.daemon.follow import Waiting
from damonpolicy.observe.status import Drift
from generator.json_runs import NAMES, documents
from generator.json_words import REMARKS, WORDS
from generator.markdown import MADE

__all__ = ("page",)

_BY_NAME = {
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

_RARE: Mapping[str, list[Any]] = {
    "import.differences": [""],
    "recover.done": [""],
    "history.generations": [dict.fromkeys(("when", "reason", "kernel", "policies"))],
    "record.notes": [""],
    "report numa.matrices": [dict.fromkeys(("hit_share", "miss_share", "unknown_share"))],
    "report numa.matrices.rows.memory": [dict.fromkeys(("memory_node", "share"))],
    "report rank.notes": [""],
    "status.lacking.left_out": [""],
    "status.service.held": [""],
    "status.service.unasked": [""],
    "status.service.not_followed": [Waiting("", (1,), 0, "").to_json()],
    "status.service.drift.first": [asdict(Drift("", "", "", ""))],
}
"""What lists hold that no run fills, or not every one."""

_UNITS = ("_bytes", "_us", "_ms", "_ns", "_permil", "_percent", "_per_second")
"""What the name of a number ends in that says its unit."""

_USED: set[str | None] = set()
"""The keys of texts and words that were looked up."""
_KEY = re.compile(r"[a-z][a-z0-9_]*|[A-Z]+")
_TYPES = {str: "text", bool: "true or false", int: "number", float: "number", type(None): "null"}
_LAST, _OR_NULL = "null", " or null"


def page() -> str:
    """Return the page."""
    found = documents()
    envelope = _shape({**found["apply"][0], "data": None}, "")
    envelope |= {"kernel": {"name": {"text"}, "release": {"text"}}, "data": {"…"}}
    envelope["diagnostics"] = [_merged(*_diagnostics(found))]
    parts = [
        "# JSON output\n",
        MADE,
        (
            "`--format json` prints one document on stdout, for every exit code. `ok` is true for the"
            " exit codes 0 and 2. `kernel` is null where no machine was looked at, `data` where the"
            " command failed. `changed` says whether something was changed; of `plan` and"
            " `--dry-run`, whether it would be. The number in `schema` grows when a key changes its meaning or goes;"
            " keys may be added.\n"
        ),
        _block({**envelope, "schema": {'"damonpolicy.COMMAND/1"'}}),
        (
            "Each command's `data` follows, as a shape: `[…]` is a list of such, `or null` says that"
            " the value may be missing. The name of a number says its unit, or a remark does. A remark also"
            " lists the words that a text is one of. Keys in capitals stand for names. Some keys are there"
            " with some options only.\n"
        ),
    ]
    shapes = {
        name: _merged(*(_shape(each["data"], name) for each in listed if each["data"]))
        for name, listed in found.items()
        if name != "schema"
    }
    like_plan = [name for name in shapes if set(shapes["plan"]) <= set(shapes[name])]
    plan = _merged(*(shapes[name] for name in like_plan))
    for name in NAMES:
        parts.append(f"## {name}\n")
        if name == "schema":
            parts.append("The JSON Schema of policies itself.\n")
        elif name == "plan":
            parts.append(_block({key: plan[key] for key in shapes["plan"]}, name))
        elif name in like_plan:
            more = {key: shape for key, shape in shapes[name].items() if key not in shapes["plan"]}
            parts += ["As [plan](#plan), and:\n", _block(more, name)]
        elif not shapes[name]:
            parts.append("Nothing: `data` is null.\n")
        else:
            parts.append(_block(shapes[name], name))
    if unused := sorted({*_texts(), *WORDS} - _USED):
        raise SystemExit(
            f"docs/texts/json.toml, or json_words.py, tells of {unused}, which no document has"
        )
    return "\n".join(parts)


def _diagnostics(documents: dict[str, list[dict[str, Any]]]) -> list[Any]:
    everything = (each for listed in documents.values() for each in listed)
    return [_shape(one, "diagnostics") for each in everything for one in each["diagnostics"]]


def _shape(value: Any, path: str) -> Any:
    """Return a mapping of shapes, a list of one shape or none, or a set of types.

    Raises SystemExit for a text that is not one of the words that are listed for it.
    """
    if isinstance(value, dict):
        if path in _BY_NAME:
            inside = f"{path}.{_BY_NAME[path]}"
            for key in value:
                _listed(key, inside)
            return {_BY_NAME[path]: _merged(*(_shape(each, inside) for each in value.values()))}
        return {key: _shape(inner, f"{path}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        shapes = [_shape(each, path) for each in (*value, *_RARE.get(path, ()))]
        return [_merged(*shapes)] if shapes else []
    if isinstance(value, str) and path.rpartition(".")[2].islower():
        _listed(value, path)
    return {_TYPES[type(value)]}


def _listed(word: str, path: str) -> None:
    words = _words(path)
    if words and word and word not in words:
        raise SystemExit(f"`{path}` can be `{word}`, and the words that are listed are {words}")


def _merged(*shapes: Any) -> Any:
    """Return one shape for all; a mapping or a list beside null is one that may be missing."""
    mappings = sorted((each for each in shapes if isinstance(each, dict)), key=len, reverse=True)
    if mappings:  # in the order of the one that has most keys
        keys = dict.fromkeys(key for each in mappings for key in each)
        merged = {key: _merged(*(each[key] for each in mappings if key in each)) for key in keys}
        nothing = any(isinstance(each, set) and each for each in shapes)  # not what was empty
        return {**merged, "": {_LAST}} if nothing else merged
    lists = [each for each in shapes if isinstance(each, list)]
    if lists:
        inner = [one for each in lists for one in each if one != _LAST]
        nothing = any(_LAST in each for each in shapes)
        return [_merged(*inner)] * bool(inner) + [_LAST] * nothing
    return set().union(*(each for each in shapes if isinstance(each, set)))


@cache
def _texts() -> dict[str, str | list[str]]:
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


def _described(path: str, shape: Any) -> str:
    """Return what a value means; raises SystemExit where a number's unit is not said."""
    while isinstance(shape, list) and shape:
        shape = shape[0]
    if not isinstance(shape, set):
        return ""
    key, number = path.rpartition(".")[2], "number" in shape
    text = _of(path, _texts(), least=1 if number else 2)
    said = [text] if isinstance(text, str) else []
    if number and not said and not key.endswith(_UNITS):
        raise SystemExit(f"docs/texts/json.toml says nothing of `{path}`")
    *most, last = _words(path) or ("",)
    if last and ("text" in shape or key.isupper()):
        listed = f"{', '.join(most)} or {last}" if most else last
        said.append(f"{key} is {listed}" if key.isupper() else listed)
    return f"  # {'; '.join(said)}" if said else ""


def _block(shape: Any, path: str = "") -> str:
    return "```text\n" + "\n".join(_lines(shape, "", path)) + "\n```\n"


def _lines(shape: Any, indent: str, path: str) -> list[str]:
    if isinstance(shape, dict):
        lines = ["{"]
        for key, inner in shape.items():
            if key:
                inside = f"{path}.{key}"
                if not _KEY.fullmatch(key):
                    raise SystemExit(f"`{inside}` has data for a key, and is not in _BY_NAME")
                first, *rest = _lines(inner, indent + "  ", inside)
                lines += [f"{indent}  {key}: {first}{_described(inside, inner)}", *rest]
        return [*lines, f"{indent}}}{_OR_NULL if '' in shape else ''}"]
    if isinstance(shape, list):
        if not shape or shape[0] == _LAST:
            raise SystemExit(f"no run fills `{path}`, and it is not in _RARE")
        *most, last = _lines(shape[0], indent, path)
        first, *rest = [*most, f"{last}]{_OR_NULL if _LAST in shape else ''}"]
        return [f"[{first}", *rest]
    ordered = sorted(shape - {_LAST}) + ([_LAST] if _LAST in shape else [])
    return [" or ".join(ordered)]
