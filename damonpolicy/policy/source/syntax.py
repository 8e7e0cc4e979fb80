"""Explanations of YAML syntax errors, with hints on the intended text."""

from __future__ import annotations

import re

import yaml

from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.policy.source.characters import SPACES, ascii_like, name_of

__all__ = ("NO_SPACE", "TOO_DEEP", "line_hint", "not_a_tag", "syntax_error", "unreadable")

_PROBLEMS = (
    ("found character that cannot start any token", "this character cannot start a value"),
    ("mapping values are not allowed", "`:` is not expected here"),
    ("did not find expected key", "the indentation does not fit the lines above"),
    ("did not find expected '-' indicator", "the indentation does not fit the list above"),
    ("did not find expected ',' or '}'", "a `{` is not closed, or a `,` is missing"),
    ("did not find expected ',' or ']'", "a `[` is not closed, or a `,` is missing"),
    ("found unexpected end of stream", "a quote is not closed"),
    ("found unknown escape character", "this escape is not known in double quotes"),
    ("block sequence entries are not allowed", "a list item is not expected here"),
    ("did not find expected <document start>", "this is not expected here"),
    ("found undefined tag handle", "tags are not part of the policy language"),
    ("found a tab character", "a tab is used for indentation"),
)

NO_SPACE = "there is no space after `{}:`"
TOO_DEEP = "the policy is nested too deeply"
_UNCLOSED = ("unexpected end of stream", "expected ',' or")
_QUOTED = re.compile(r"\s+#.*|\"[^\"]*\"|'[^']*'")
_REFUSED = re.compile("[^\t\n\r\x85 -~\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML does not allow, and the mark of the order of bytes."""
_ODD = re.compile(rf"[{SPACES}：]")


def syntax_error(name: str, text: str, error: yaml.MarkedYAMLError) -> Diagnostic:
    """Return the diagnostic for the place where YAML gave up."""
    mark = error.problem_mark or error.context_mark
    if error.context_mark and any(word in (error.problem or "") for word in _UNCLOSED):
        mark = error.context_mark  # where it was opened is more useful than the end of the file
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines() or [""]
    line = min(line, len(lines) - 1)
    span = Span.on_line(name, line + 1, column + 1)
    problem = error.problem or "the text is not YAML"
    if "maximum nesting depth" in problem:  # libyaml since 0.2.6, before the events come to us
        return span.error("DP0013", TOO_DEEP)
    source = lines[line]
    indent = source[: len(source) - len(source.lstrip())]
    if "\t" in indent or source[column : column + 1] == "\t":
        tab = Span.on_line(name, line + 1, source.index("\t") + 1)
        message = "there is a tab where YAML expects spaces"
        return tab.error("DP0005", message, "indent with spaces")
    if odd := _odd(name, lines, line):
        return odd
    if lacking := _lacks_colon(lines, line, column, error):
        return _no_colon(name, lines, *lacking)
    near = lines[max(0, line - 1)] + "\n" + source
    if "{{" in near and '"' not in near and "'" not in near:
        hint = 'write the whole value in quotes, such as `"{{ name }}s"`'
        return span.error("DP0012", "a template without quotes is a mapping to YAML", hint)
    if "tag" in (error.context or "") and error.context_mark:
        start = error.context_mark
        before, tagged = lines[start.line][: start.column], lines[start.line][start.column :]
        word = re.match(r"!([a-z_]+)", tagged)
        if word and re.search(r"\b(allow|reject):\s+\Z", before):
            place = Span.on_line(name, start.line + 1, start.column + 1, word.end())
            return not_a_tag(place, word[1])
    hint = ""
    if shell := re.search(r"\$\{(\w+)\}", source):
        hint = f'write `"{{{{ {shell[1]} }}}}"`'
    elif "end of stream" in problem or "expected ',' or" in problem:
        hint = "close it, or put quotes around a value that holds such a character"
    elif "did not find expected" in problem:
        hint = "what belongs together begins in the same column"
    elif "mapping values" in problem:
        hint = "put quotes around a value that holds `: `"
    elif source[column : column + 1] in ("@", "`", "%"):
        hint = "put quotes around the value"
    sentence = next((ours for theirs, ours in _PROBLEMS if theirs in problem), problem)
    return span.error("DP0004", sentence, hint)


def _lacks_colon(
    lines: list[str], line: int, column: int, error: yaml.MarkedYAMLError
) -> tuple[int, int] | None:
    """Return where a key without a `:` begins, if that is the error."""
    problem, context = error.problem or "", error.context_mark
    if "expected ':'" in problem and context:
        return context.line, context.column
    if "mapping values" in problem and line and re.match(r"\s*[\w.-]+\Z", lines[line][:column]):
        # to YAML this line continues the previous one; it is certain only if that begins a value
        before = lines[line - 1]
        parent = lines[line - 2].rstrip() if line > 1 else ":"
        text = before.lstrip(" -")
        begins = before.lstrip().startswith("- ") or parent.endswith(":")
        same = len(before) - len(text) == len(lines[line]) - len(lines[line].lstrip())
        if begins and same and re.match(r"[\w.-]+([ :=]|$)", text):
            return line - 1, len(before) - len(text)
    return None


def _odd(name: str, lines: list[str], line: int) -> Diagnostic | None:
    """Report a lookalike of a space or colon, in an unreadable line or the one before."""
    for at in (line - 1, line):
        text = _QUOTED.sub(lambda found: "x" * len(found[0]), lines[max(at, 0)])
        found = _ODD.search(text)
        if not found:
            continue
        span = Span.on_line(name, at + 1, found.start() + 1)
        message = f"{name_of(found[0])} is not what YAML takes for one"
        indent = not text[: found.start()].strip()
        hint = "indent with spaces" if indent else f"write `{ascii_like(lines[at]).strip(' -')}`"
        return span.error("DP0127", message, hint)
    return None


def line_hint(key: str, value: str) -> str:
    """Return a line as it was meant, if it is short enough to show."""
    return f"write `{key}: {value}`" if len(value) <= 60 else f"write a space after `{key}:`"


def _no_colon(name: str, lines: list[str], line: int, column: int) -> Diagnostic:
    text = re.sub(r"\s+#.*", "", lines[line][column:]).rstrip()
    if glued := re.match(r"([A-Za-z_][\w-]*)(:|\s?=\s?)(\S.*)", text):
        key, sign, value = glued.groups()
        span = Span.on_line(name, line + 1, column + 1, len(text))
        message = "this line has a `=` after its key, not a `:`"
        message = NO_SPACE.format(key) if sign == ":" else message
        return span.error("DP0004", message, line_hint(key, value))
    found = re.match(r"""("[^"]*"|'[^']*'|\S+)\s*(.*)""", text)
    key, value = (found[1], found[2]) if found else (text, "")
    span = Span.on_line(name, line + 1, column + 1, max(len(key), 1))
    hint = f"write `{key}: {value}`" if value else f"write `{key}:` and its value"
    if len(text) > 60 or re.fullmatch(r"['\"][^'\"]*", key):
        hint = "write `:` after the key"
    return span.error("DP0004", "this line lacks a `:` after its key", hint)


def not_a_tag(span: Span, word: str) -> Diagnostic:
    """Report ``!anon``, where a filter is meant to be negated."""
    return span.error("DP0009", f"`!{word}` is a tag to YAML", f"write `{{not: {word}}}`")


def unreadable(name: str, text: str) -> Diagnostic:
    """Locate a character that YAML does not allow."""
    # libyaml's position counts bytes, the pure reader's counts characters: look for it instead
    found = _REFUSED.search(text)
    position = found.start() if found else 0
    before = (text[:position] + "x").splitlines()  # YAML has more ends of lines than one, too
    number = ord(text[position]) if text else 0
    message = f"the character U+{number:04X} is not allowed in YAML"
    hint = "remove it, or write it as an escape in double quotes"
    return Span.on_line(name, len(before), len(before[-1])).error("DP0003", message, hint)
