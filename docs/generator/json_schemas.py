"""The JSON Schemas of the JSON documents, from the shapes that their page shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from damonpolicy.base.errors import ExitCode
from damonpolicy.cli.commands.emulate import LEVERS
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.main import COMMANDS
from generator.json_runs import NAMES, NOTHING, documents
from generator.json_samples import OPEN
from generator.json_shapes import Shape, commands, envelope, listed, may_be_more, place, said

__all__ = ("schemas",)

_DOES = {
    **COMMANDS,
    **{f"report {name}": f"show {what}" for name, what in REPORTS.items()},
    **{f"emulate {name}": what for name, what in LEVERS.items()},
}
_ANY_SCHEMA = {
    "type": ["object", "null"],
    "required": ["$schema", "$id", "title", "description"],
}
_WIDTH = 100


def schemas() -> dict[str, str]:
    """Return the content of each schema, by the name of its file."""
    found = {}
    for name in (*NAMES, *NOTHING):
        if not documents()[name]:
            raise SystemExit(f"docs/generator/json_runs.py runs no `{name}`")
        schema = documents()[name][0]["schema"]
        slug, _, version = schema.removeprefix("damonpolicy.").partition("/")
        content = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:damonpolicy:output.{slug}.v{version}",
            "title": f"damonpolicy {name}, JSON output, version {version}",
            "description": _description(name),
            **_document(name, schema),
        }
        found[f"{slug}.schema.json"] = "\n".join(_lines(content, "")) + "\n"
    return found


def _description(name: str) -> str:
    if name == "damonpolicy":
        return "`damonpolicy --format json` where no command is known."
    if name in ("report", "emulate"):
        return f"`damonpolicy {name} --format json` where it is not known which of them is meant."
    return f"`damonpolicy {name} --format json`: {_DOES[name]}."


def _document(name: str, schema: str) -> dict[str, Any]:
    made = _value(envelope(), "")
    made["properties"]["schema"] = {"const": schema}
    made["properties"]["exit_code"]["enum"] = [int(code) for code in ExitCode]
    made["properties"]["data"] = {
        "description": made["properties"]["data"]["description"],
        **_data(name),
    }
    return made


def _data(name: str) -> dict[str, Any]:
    """Return the schema of a command's data; null is what a command that failed has."""
    if name == "schema":
        return _ANY_SCHEMA
    forms = [
        _value(Shape(each.types | {"null"}, each.keys, each.together), name) | _choices(each)
        for each in commands()[name].forms()
    ]
    if not forms:
        return {"type": "null"}
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _choices(shape: Shape) -> dict[str, Any]:
    """Say that an object has one of some sets of keys."""
    sets = [[key for key in shape.keys if key in each] for each in shape.least]
    return {"anyOf": [{"required": each} for each in sets]} if len(sets) > 1 else {}


def _value(shape: Shape, path: str) -> dict[str, Any]:
    """Return the schema of a value. One in an array has what is said of it at the array."""
    types = shape.types - {"integer"} if "number" in shape.types else shape.types
    ordered = sorted(types, key=lambda each: (each == "null", each))
    made: dict[str, Any] = {"type": ordered[0] if len(ordered) == 1 else ordered}
    if remark := _remark(shape, path):
        made["description"] = remark
    if "object" in types:
        made |= _object(shape, path)
    if shape.items is not None:
        made["items"] = _value(shape.items, path)
        made["items"].pop("description", None)
    _, words = said(path, shape)
    if "string" in types and words and not may_be_more(path):
        made["enum"] = [*words, *[None] * ("null" in types)]
    return made


def _remark(shape: Shape, path: str) -> str:
    text, words = said(path, shape)
    more = listed(path, words) if words and may_be_more(path) else ""
    return "; ".join(filter(None, (text, more)))


def _object(shape: Shape, path: str) -> Mapping[str, Any]:
    named = [key for key in shape.keys if key.isupper()]
    if named:
        return _mapping(shape.keys[named[0]], f"{path}.{named[0]}")
    return {
        "properties": {key: _value(each, place(path, key)) for key, each in shape.keys.items()},
        **({"required": shape.always} if shape.always else {}),
        "additionalProperties": path in OPEN,
    }


def _mapping(shape: Shape, path: str) -> Mapping[str, Any]:
    """Return what is said of an object whose keys are data."""
    name = path.rpartition(".")[2]
    _, words = said(path, shape)
    names = {"propertyNames": {"enum": list(words)}} if words else {}
    return {"additionalProperties": {"title": name, **_value(shape, path)}, **names}


def _lines(value: Any, indent: str, key: str = "", end: str = "") -> list[str]:
    """Write JSON with a line for whatever fits into one."""
    whole = f"{indent}{key}{json.dumps(value, ensure_ascii=False)}{end}"
    if not isinstance(value, dict | list) or len(whole) <= _WIDTH:
        return [whole]
    keys = [f"{json.dumps(each)}: " for each in value] if isinstance(value, dict) else []
    inner = list(value.values()) if isinstance(value, dict) else value
    ends = [*[","] * (len(inner) - 1), ""]
    names = keys or [""] * len(inner)
    first, last = "{}" if keys else "[]"
    return [
        f"{indent}{key}{first}",
        *(
            line
            for part in zip(inner, names, ends, strict=True)
            for line in _lines(part[0], f"{indent}  ", *part[1:])
        ),
        f"{indent}{last}{end}",
    ]
