"""The lines that `--log-format json` writes: their events, read from the code, and their schema."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import damonpolicy
from generator.markdown import code, table

__all__ = ("schema", "section")

_LEVELS = ("debug", "info", "warning")
_ALWAYS = {
    "event": "What happened.",
    "level": "One of `debug`, `info` and `warning`.",
    "timestamp": "When, in UTC (ISO 8601); the journal of systemd has its own.",
}


@cache
def _texts() -> dict[str, dict[str, Any]]:
    path = Path(__file__).resolve().parents[1] / "texts/log.toml"
    return tomllib.loads(path.read_text("utf-8"))


@cache
def _events() -> dict[str, dict[str, set[str]]]:
    """Return the levels and the keys of each event, from all calls of `log`."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in sorted(Path(damonpolicy.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for name, level, keys in _call(node):
                event = found.setdefault(name, {"levels": set(), "keys": set()})
                event["levels"].add(level)
                event["keys"] |= keys
    _described(found)
    return found


def _call(node: ast.AST) -> Iterator[tuple[str, str, set[str]]]:
    """Yield the event, level and keys of a call of `log`; one with `emit` may have any level.

    `daemon.containment.tell` logs the reason of a failure as a warning.
    """
    if not isinstance(node, ast.Call):
        return
    if isinstance(node.func, ast.Name) and node.func.id == "tell":
        keys = {"reason", *(str(each.arg) for each in node.keywords)}
        yield ast.literal_eval(node.args[0]), "warning", keys
    if not isinstance(node.func, ast.Attribute):
        return
    name, owner = node.func.attr, node.func.value
    if not (isinstance(owner, ast.Name) and owner.id == "log" and name in (*_LEVELS, "emit")):
        return
    keys = {str(each.arg) for each in node.keywords}
    told = node.args[1 if name == "emit" else 0]
    if isinstance(told, ast.Name):  # in `tell` itself
        return
    event = ast.literal_eval(told)
    for level in _LEVELS if name == "emit" else (name,):
        yield event, level, keys


def _described(found: dict[str, dict[str, set[str]]]) -> None:
    """Raise ValueError if docs/texts/log.toml describes other events or keys."""
    keys = {key for event in found.values() for key in event["keys"]}
    for kind, wanted in (("events", set(found)), ("keys", keys)):
        if wrong := wanted ^ set(_texts()[kind]):
            raise ValueError(f"docs/texts/log.toml, {kind}: {sorted(wrong)}")


def schema() -> str:
    """Return the JSON Schema of one line."""
    keys = _texts()["keys"]
    events = [
        {
            "description": _texts()["events"][name],
            "properties": {
                "event": {"const": name},
                "level": {"enum": sorted(event["levels"])},
                "timestamp": True,
                **dict.fromkeys(sorted(event["keys"]), True),
            },
            "additionalProperties": False,
        }
        for name, event in sorted(_events().items())
    ]
    content = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:damonpolicy:output.log.v1",
        "title": "damonpolicy --log-format json, one line, version 1",
        "description": "An event of the service or of a command, on stderr.",
        "type": "object",
        "required": ["event", "level"],
        "properties": {
            **{name: {"type": "string", "description": what} for name, what in _ALWAYS.items()},
            **{
                name: {"type": kind, "description": what}
                for name, (kind, what) in sorted(keys.items())
            },
        },
        "oneOf": events,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def section() -> str:
    """Return the part of the page about these lines."""
    texts = _texts()
    rows = (
        (code(name), texts["events"][name], ", ".join(code(key) for key in sorted(event["keys"])))
        for name, event in sorted(_events().items())
    )
    return "\n".join((
        "## Log lines\n",
        (
            "With `--log-format json`, a command or the service writes one JSON object a line to stderr:"
            " `event`, `level`, `timestamp` (not in the journal of systemd, which has its own), and the"
            " keys of the event. `damonpolicy schema output log` prints their schema.\n"
        ),
        table(("event", "meaning", "keys"), rows),
        table(("key", "holds"), ((code(name), what) for name, (_, what) in sorted(texts["keys"].items()))),
    ))  # fmt: skip
