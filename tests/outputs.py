"""JSON output of commands matches its schema, in whatever test it is printed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

__all__ = ("HEAD", "OUTPUT", "conform", "conforming_lines", "validator")

OUTPUT = Path(__file__).resolve().parents[1] / "schemas/output"
HEAD = '{\n  "schema": "damonpolicy.'
"""What a whole document begins with."""


@cache
def validator(name):
    """The validator of a command's documents, by the name that they have for it."""
    import jsonschema

    schema = json.loads((OUTPUT / f"{name}.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def conform(text):
    """Fail where a document is not as its schema says."""
    document = json.loads(text)
    name = document["schema"].removeprefix("damonpolicy.").partition("/")[0]
    wrong = [f"{each.json_path}: {each.message}" for each in validator(name).iter_errors(document)]
    assert not wrong, f"{name}: what is printed is not what `schemas/output` says: {wrong}"


def conforming_lines(text):
    """The events of a JSON log; fail where one is not as the schema of its lines says."""
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    wrong = [f"{event}: {each.message}" for event in events
             for each in validator("log").iter_errors(event)]  # fmt: skip
    assert not wrong, wrong
    return events
