"""``damonpolicy explain``."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import click

from damonpolicy.base.diagnostics import closest, did_you_mean
from damonpolicy.base.errors import UsageError
from damonpolicy.base.lazy import dataclass
from damonpolicy.cli import shipped
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.show.output import Result
from damonpolicy.kernel.damon.schema import pattern
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.damon.words import FOREIGN, WORDS, elsewhere

_CONTEXT = pattern(Kdamond().ops.path).rpartition("/")[0]
_WIDTH = 80
_MOST = 12
"""The most places to list; more than a screen holds are useless."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key at one place: its meaning and its values; ``words`` are the allowed ones."""

    path: tuple[str, ...]
    what: str
    takes: str
    words: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """Its path, as text shows it."""
        return ".".join(self.path)


@subcommand("explain")
@click.argument("topic", metavar="KEY|CODE", shell_complete=names.topics)
def command(invocation: Invocation, topic: str) -> Result:
    """Explain a key or a word of policies, such as `quota.size` or `pageout`, or a finding.

    A finding is named by its code, such as `DP0217`. The kernel's files and damo's options are
    known, too (`--` before an option).
    """
    del invocation
    if code := re.fullmatch(r"(?:[dD][pP])?(\d{3,4})", topic):
        return _finding(f"DP{code[1]:>04}")
    found = list(keys())
    matching = _matching(topic, found)
    lines: list[str] = []
    if not matching:
        matching = [each for each in found if topic in each.words]
        lines = [f"`{topic}` is a word for:", ""]
    if not matching:
        raise UsageError(f"`{topic[:60]}` is neither a key nor a code", hint=_near(topic, found))
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


def _near(topic: str, found: list[Key]) -> str:
    """Return the most similar key or word, with as much of its path as was given."""
    count = topic.count(".") + 1
    called = {".".join(each.path[-count:]) for each in found if len(each.path) >= count}
    words = {word for each in found for word in each.words} if count == 1 else set()
    close = closest(topic, sorted(called | words))
    return f"did you mean `{close}`?" if close else "`damonpolicy init` lists whole policies"


def _finding(code: str) -> Result:
    texts = tomllib.loads(shipped.texts_file().read_text(encoding="utf-8"))
    if code not in texts:
        raise UsageError(f"`{code}` is not a finding", hint=did_you_mean(code, sorted(texts)))
    title, means, do = (texts[code][key] for key in ("title", "means", "do"))
    lines = [f"{code}: {title}", *_wrapped(means), *_wrapped(do)]
    finding = {"code": code, "title": title, "means": means, "do": do}
    return Result("\n".join(lines) + "\n", {"topic": code, "keys": [], "finding": finding})


def _matching(topic: str, found: list[Key]) -> list[Key]:
    """Return the keys whose path ends in the given words, by our names or others'."""
    for each in (topic, elsewhere(topic), FOREIGN.get(topic.removeprefix("--"), "")):
        parts = tuple(each.replace("` and `", ".").replace("[]", "").strip(".").split("."))
        matching = [key for key in found if each and key.path[-len(parts) :] == parts]
        if matching:
            return sorted(matching, key=lambda key: len(key.path))
    file = pattern(topic.strip("/"))
    ours = {each.ours for each in WORDS if f"/{each.kernel}".endswith(f"/{file}")}
    paths = [tuple(each.split(".")) for each in sorted(ours)]
    return [key for key in found for path in paths if _is(key, path)] if "/" in topic else []


def _is(key: Key, path: tuple[str, ...]) -> bool:
    """Return whether a word is about a key; names of lists may stand between its parts."""
    return key.path[-len(path) :] == path and len(key.path) - len(path) <= 2


def keys() -> Iterator[Key]:
    """Yield every key at every place of the policy language, from its schema."""
    schema = json.loads(shipped.schema_file().read_text(encoding="utf-8"))
    yield from _keys(schema, schema["$defs"], (), frozenset())


def _keys(
    part: Mapping[str, Any], parts: Mapping[str, Any], above: tuple[str, ...], seen: frozenset[str]
) -> Iterator[Key]:
    for name, each in part.get("properties", {}).items():
        path = (*above, name)
        words = tuple(str(word) for word in _collected(each)[0])
        yield Key(path, each.get("description", ""), _takes(each, parts), words)
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


def _takes(part: Any, parts: Mapping[str, Any]) -> str:
    """Describe the form of a value, from the schema."""
    words, examples, default = _collected(part)
    texts = []
    if words:
        listed = ", ".join(f"`{each}`" for each in words)
        texts.append(f"one of {listed}" if words[1:] else listed)
    elif examples:
        texts.append(f"for example `{examples[0]}`")
    if any(True for _ in _references(part)):
        inner = dict.fromkeys(
            name for each in _references(part) for name in parts[each].get("properties", ())
        )
        of = f" of {', '.join(f'`{each}`' for each in inner)}" if inner else ""
        texts.append(("a list" if part.get("type") == "array" else "a mapping") + of)
    if not texts:
        plain = {"boolean": "`true` or `false`", "array": "a list"}
        texts.append(plain.get(_type(part), "a value"))
    text = ", or ".join(texts)
    return f"{text}; by default `{default}`" if default not in (None, "", [], {}) else text


def _type(part: Any) -> str:
    types = [part.get("type"), *(each.get("type") for each in part.get("anyOf", ()))]
    return next((each for each in types if each in ("boolean", "array")), "")


def _collected(part: Any) -> tuple[list[str], list[str], Any]:
    words: list[str] = list(part.get("enum", ()))
    examples: list[str] = list(part.get("examples", ()))
    for each in (*part.get("anyOf", ()), *part.get("oneOf", ())):
        more, shown, _ = _collected(each)
        words += more
        examples += shown
    default = part.get("default")
    return words, examples, str(default).lower() if isinstance(default, bool) else default


def _lines(key: Key) -> list[str]:
    lines = [key.called, *_wrapped(key.what), *_wrapped(f"takes {key.takes}")]
    for word in WORDS:
        if _is(key, tuple(word.ours.split("."))):
            file = word.kernel.removeprefix(f"{_CONTEXT}/").replace("*", "N")
            lines.append(f"  kernel: {file}" + (f", damo: {word.damo}" if word.damo else ""))
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
