"""``damonpolicy explain``."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from damonpolicy.cli import names, shipped
from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.diagnostics import did_you_mean
from damonpolicy.errors import UsageError
from damonpolicy.model.words import FOREIGN, WORDS, elsewhere

_WIDTH = 80
_MOST = 12
"""More places than a screen holds tell nobody anything."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key at one place: what it means, and what it takes."""

    path: tuple[str, ...]
    what: str
    takes: str

    @property
    def called(self) -> str:
        """Its path as it is written in text."""
        return ".".join(self.path)


@click.command("explain")
@click.argument("topic", metavar="KEY|CODE", shell_complete=names.topics)
@common
@pass_invocation
def command(invocation: Invocation, topic: str) -> Result:
    """Explain a key of the policy language, such as `quota.size`, or a finding, such as `DP0217`.

    It knows the names of the kernel's files and damo's options, too.
    """
    del invocation
    if re.fullmatch(r"[dD][pP]\d{4}", topic):
        return _finding(topic.upper())
    found = list(keys())
    matching = _matching(topic, found)
    if not matching:
        words = {each.path[-1] for each in found}
        hint = did_you_mean(topic.rpartition(".")[2], sorted(words))
        hint = hint or "`damonpolicy init` lists whole policies, `damonpolicy features` features"
        raise UsageError(f"`{topic[:60]}` is neither a key nor a code", hint=hint)
    lines: list[str] = []
    for each in matching[:_MOST]:
        lines += [*_lines(each), ""]
    if len(matching) > _MOST:
        lines += [f"and {len(matching) - _MOST} more places: name one, such as `quota.{topic}`", ""]
    data = {
        "topic": topic,
        "keys": [{"path": e.called, "what": e.what, "takes": e.takes} for e in matching],
        "finding": None,
    }
    return Result("\n".join(lines), data)


def _finding(code: str) -> Result:
    texts = tomllib.loads(shipped.texts_file().read_text(encoding="utf-8"))
    if code not in texts:
        raise UsageError(f"`{code}` is not a finding", hint=did_you_mean(code, sorted(texts)))
    title, means, do = (texts[code][key] for key in ("title", "means", "do"))
    lines = [f"{code}: {title}", *_wrapped(means), *_wrapped(do)]
    finding = {"code": code, "title": title, "means": means, "do": do}
    return Result("\n".join(lines) + "\n", {"topic": code, "keys": [], "finding": finding})


def _matching(topic: str, found: list[Key]) -> list[Key]:
    """Return the keys whose path ends in what was asked, by our names or others'."""
    for each in (topic, elsewhere(topic), FOREIGN.get(topic.removeprefix("--"), "")):
        parts = tuple(each.replace("` and `", ".").replace("[]", "").strip(".").split("."))
        matching = [key for key in found if each and key.path[-len(parts) :] == parts]
        if matching:
            return sorted(matching, key=lambda key: len(key.path))
    return []


def keys() -> Iterator[Key]:
    """Yield every key at every place of the policy language, from its schema."""
    schema = json.loads(shipped.schema_file().read_text(encoding="utf-8"))
    yield from _keys(schema, schema["$defs"], (), frozenset())


def _keys(
    part: Mapping[str, Any], parts: Mapping[str, Any], above: tuple[str, ...], seen: frozenset[str]
) -> Iterator[Key]:
    for name, each in part.get("properties", {}).items():
        path = (*above, name)
        yield Key(path, each.get("description", ""), _takes(each))
        for reference in dict.fromkeys(_references(each)):
            if reference not in seen:
                yield from _keys(parts[reference], parts, path, seen | {reference})


def _references(part: Any) -> Iterator[str]:
    """Yield the models that a value may consist of."""
    if isinstance(part, list):
        for each in part:
            yield from _references(each)
    elif isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        for key in ("anyOf", "oneOf", "items", "prefixItems"):
            yield from _references(part.get(key))


def _takes(part: Any) -> str:
    """Say what a value looks like, by the schema."""
    words, examples, default = _collected(part)
    if words:
        text = "one of " + ", ".join(f"`{each}`" for each in words)
    elif examples:
        text = f"for example `{examples[0]}`"
    elif any(True for _ in _references(part)):
        text = "a list" if part.get("type") == "array" else "a mapping"
    else:
        text = {"boolean": "`true` or `false`", "array": "a list"}.get(_type(part), "a value")
    return f"{text}; by default `{default}`" if default not in (None, "", [], {}) else text


def _type(part: Any) -> str:
    types = [part.get("type"), *(each.get("type") for each in part.get("anyOf", ()))]
    return next((each for each in types if each in ("boolean", "array")), "")


def _collected(part: Any) -> tuple[list[str], list[str], Any]:
    words: list[str] = list(part.get("enum", ()))
    examples: list[str] = list(part.get("examples", ()))
    for each in part.get("anyOf", ()):
        more, shown, _ = _collected(each)
        words += more
        examples += shown
    default = part.get("default")
    return words, examples, str(default).lower() if isinstance(default, bool) else default


def _lines(key: Key) -> list[str]:
    lines = [key.called, *_wrapped(key.what), *_wrapped(f"takes {key.takes}")]
    for word in WORDS:
        whole = word.ours.split(".")
        if list(key.path[-len(whole) :]) == whole and len(key.path) - len(whole) <= 2:
            file = word.kernel.replace("contexts/*/", "").replace("*", "N")
            lines.append(f"  kernel: {file}" + (f", damo: {word.damo}" if word.damo else ""))
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
