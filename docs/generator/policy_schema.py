"""The JSON Schema of the policy language, for editors."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Callable
from typing import Any

from damonpolicy.policy.model import scalars
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.source.expand import VARIABLE

__all__ = ("policy_schema", "text")

_FOR_EACH = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "propertyNames": {"pattern": rf"^{VARIABLE}(?![\s\S])"},
    "additionalProperties": {"anyOf": [{"const": "all"}, {"type": "array", "minItems": 1}]},
    "description": "Repeat this item for each value; the name is then a variable.",
}


def policy_schema() -> dict[str, Any]:
    """Return the schema as plain data (JSON Schema 2020-12)."""
    schema = Policy.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    parts = {**definitions, Policy.__name__: schema}
    shown = [model for model in _models(scalars.Model) if model.__name__ in parts]
    for model in shown:  # a base class of others is not a definition
        part = parts[model.__name__]
        for name, text in _descriptions(model).items():
            part["properties"][model.model_fields[name].alias or name]["description"] = text
    for name in ("Kdamond", "Scheme"):
        definitions[name]["properties"]["for_each"] = _FOR_EACH
    version = schema["properties"]["version"]
    version.pop("const", None)
    version.pop("type", None)
    version["enum"] = [1, "1"]
    for name in ("vars", "settings"):
        scalar = {"type": ["string", "number", "boolean"]}
        schema["properties"][name]["additionalProperties"] = scalar
    schema["properties"]["vars"]["propertyNames"] = _FOR_EACH["propertyNames"]
    schema = _changed(_changed(schema, _without_nulls), _with_template)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:damonpolicy:policy.v1",
        **schema,
        "title": "damonpolicy policy, version 1",
    }


def _models(model: type[scalars.Model]) -> list[type[scalars.Model]]:
    return [each for sub in model.__subclasses__() for each in (sub, *_models(sub))]


def _descriptions(model: type[scalars.Model]) -> dict[str, str]:
    """Return the texts below a model's fields, for editors and for the page of keys."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__[: model.__mro__.index(scalars.Model)]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    found[name] = words
    return found


def _changed(part: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    """Return a schema with every mapping changed, from the inside out."""
    if isinstance(part, list):
        return [_changed(each, change) for each in part]
    if isinstance(part, dict):
        return change({key: _changed(value, change) for key, value in part.items()})
    return part


def _with_template(part: dict[str, Any]) -> dict[str, Any]:
    """Allow a template in place of a word."""
    words = part.get("enum") or ([part["const"]] if "const" in part else None)
    if words is None or part.get("type") != "string":
        return part
    rest = {key: value for key, value in part.items() if key not in ("enum", "const", "type")}
    return {**rest, "anyOf": [{"enum": words}, {"pattern": r"\{\{", "type": "string"}]}


def _without_nulls(part: dict[str, Any]) -> dict[str, Any]:
    """Drop Python's additions: null as a value, and titles made from names."""
    kept = {
        key: value
        for key, value in part.items()
        if not (key == "default" and (value is None or isinstance(value, dict)))
        and not (key == "title" and isinstance(value, str))
    }
    choices = kept.get("anyOf")
    if isinstance(choices, list):
        choices = [each for each in choices if each != {"type": "null"}]
        if len(choices) == 1:
            del kept["anyOf"]
            return {**choices[0], **kept}
        kept["anyOf"] = choices
    return kept


def text() -> str:
    """Return the schema as the text of the file in ``schemas/``."""
    return json.dumps(policy_schema(), indent=2, sort_keys=True) + "\n"
