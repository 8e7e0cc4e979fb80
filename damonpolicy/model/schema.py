"""The JSON Schema of the policy language, for editors."""

from __future__ import annotations

import json
from typing import Any

from damonpolicy.model.policy import Policy

__all__ = ("policy_schema", "policy_schema_text")

_FOR_EACH = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": {"anyOf": [{"const": "all"}, {"type": "array", "minItems": 1}]},
    "description": "Repeat this item for each value; the name is then a variable.",
}


def policy_schema() -> dict[str, Any]:
    """Return the schema as plain data (JSON Schema 2020-12)."""
    schema = Policy.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    for name in ("Kdamond", "Scheme"):
        definitions[name]["properties"]["for_each"] = _FOR_EACH
    version = schema["properties"]["version"]
    version.pop("const", None)
    version.pop("type", None)
    version["enum"] = [1, "1"]
    schema["properties"]["vars"]["additionalProperties"] = {"type": ["string", "number", "boolean"]}
    schema["properties"]["settings"]["additionalProperties"] = {
        "type": ["string", "number", "boolean"]
    }
    schema = _without_nulls(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "damonpolicy policy, version 1",
    }


def _without_nulls(part: Any) -> Any:
    """Drop what only Python has: null as a value, and titles made from names."""
    if isinstance(part, list):
        return [_without_nulls(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {
        key: _without_nulls(value)
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


def policy_schema_text() -> str:
    """Return the schema as the file in ``schemas/`` holds it."""
    return json.dumps(policy_schema(), indent=2, sort_keys=True) + "\n"
