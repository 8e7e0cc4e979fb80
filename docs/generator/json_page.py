"""The page of the JSON documents."""

from __future__ import annotations

import re

from generator import log_lines
from generator.json_runs import NAMES
from generator.json_shapes import Shape, commands, envelope, listed, said, unused
from generator.markdown import MADE

__all__ = ("page",)

_KEY = re.compile(r"[a-z][a-z0-9_]*|[A-Z]+")
_TYPES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "number",
    "number": "number",
    "null": "null",
}
_OR_NULL = " or null"


def page() -> str:
    """Return the page."""
    head = envelope()
    keys = {**head.keys, "schema": Shape(frozenset({'"damonpolicy.COMMAND/1"'})), "data": Shape(frozenset({"…"}))}  # fmt: skip
    parts = [
        "# JSON output\n",
        MADE,
        (
            "`--format json` prints one document on stdout, for every exit code. The number in"
            " `schema` grows when a key changes its meaning or goes; keys may be added.\n"
        ),
        _block(Shape(head.types, keys), ""),
        (
            "Where `COMMAND` is `damonpolicy`, `report` or `emulate`, it is not known which command"
            " was meant; `top` shows a screen. `data` is null then.\n"
        ),
        (
            "For each of these documents there is a JSON Schema in"
            " `schemas/output/`, which `damonpolicy schema output COMMAND` prints,"
            " as in `damonpolicy schema output report wss`. It takes the keys of its own version of"
            " damonpolicy and no others, except where the service or the kernel may say more.\n"
        ),
        (
            "Each command's `data` follows, as a shape: `[…]` is a list of such, `or null` says that"
            " the value may be missing. The name of a number says its unit, or a remark does. A remark also"
            " lists the words that a text is one of. Keys in capitals stand for names. Some keys are there"
            " with some options only.\n"
        ),
    ]
    plan = commands()["plan"]
    for name in NAMES:
        parts.append(f"## {name}\n")
        if name == "schema":
            parts.append("The JSON Schema itself.\n")
            continue
        for number, form in enumerate(commands()[name].forms()):
            parts += ["or\n"] * bool(number)
            if name != "plan" and plan.keys.keys() <= form.keys.keys():
                more = {key: each for key, each in form.keys.items() if key not in plan.keys}
                parts.append(f"As [plan](#plan){', and:' if more else '.'}\n")
                parts += [_block(Shape(form.types, more), name)] * bool(more)
            else:
                parts.append(_block(form, name) if form.keys else "Nothing: `data` is `{}`.\n")
    if left := unused():
        raise SystemExit(
            f"docs/texts/json.toml, or json_words.py, tells of {left}, which no document has"
        )
    parts.append(log_lines.section())
    return "\n".join(parts)


def _described(path: str, shape: Shape) -> str:
    """Return the remark on a value."""
    text, words = said(path, shape)
    parts = [text] if text else []
    if words:
        key = path.rpartition(".")[2]
        parts.append(f"{key} is {listed(path, words)}" if key.isupper() else listed(path, words))
    return f"  # {'; '.join(parts)}" if parts else ""


def _block(shape: Shape, path: str) -> str:
    lines = list(_lines(Shape(shape.types - {"null"}, shape.keys), "", path))
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _lines(shape: Shape, indent: str, path: str) -> list[str]:
    null = _OR_NULL if "null" in shape.types else ""
    if "object" in shape.types:
        lines = ["{"]
        for key, inner in shape.keys.items():
            inside = f"{path}.{key}"
            if not _KEY.fullmatch(key):
                raise SystemExit(f"`{inside}` has data for a key, and is not in BY_NAME")
            first, *rest = _lines(inner, indent + "  ", inside)
            lines += [f"{indent}  {key}: {first}{_described(inside, inner)}", *rest]
        return [*lines, f"{indent}}}{null}"]
    if "array" in shape.types:
        if shape.items is None:
            raise SystemExit(f"no run fills `{path}`, and it is not in SAMPLES")
        *most, last = _lines(shape.items, indent, path)
        first, *rest = [*most, f"{last}]{null}"]
        return [f"[{first}", *rest]
    plain = sorted({_TYPES.get(each, each) for each in shape.types - {"null"}})
    return [" or ".join([*plain, *["null"] * bool(null)])]
