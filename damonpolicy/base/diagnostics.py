"""Diagnostics with a place in a file, and their renderers: text, json, github, sarif."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Any, Literal, TypeAlias

from damonpolicy import __version__
from damonpolicy.base import limits
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.limits import shortened

__all__ = (
    "Diagnostic",
    "Severity",
    "Span",
    "as_text",
    "cell",
    "closest",
    "did_you_mean",
    "is_whole",
    "limit_findings",
    "render_github",
    "render_sarif",
    "render_text",
    "to_json",
    "visible",
)

_MOST_COMPARED, _LONGEST_WORD = 256, 64
_HALF = "[\ud800-\udfff]"

Severity = Literal["error", "warning", "note"]
Related: TypeAlias = "Sequence[tuple[Span, str]]"
"""Other places of a finding, with a label for each."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A place in a file; lines and columns count from 1, the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{visible(self.file, kept='')}:{self.line}:{self.column}"

    @classmethod
    def on_line(cls, file: str, line: int, column: int, width: int = 1) -> Span:
        """Return a place within one line."""
        return cls(file, line, column, line, column + width)

    def error(self, code: str, message: str, hint: str = "", related: Related = ()) -> Diagnostic:
        """Return an error at this place."""
        return Diagnostic("error", code, message, self, hint, tuple(related))

    def warning(self, code: str, message: str, hint: str = "", related: Related = ()) -> Diagnostic:
        """Return a warning at this place."""
        return Diagnostic("warning", code, message, self, hint, tuple(related))


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a code whose meaning never changes, a sentence, a place, and a hint."""

    severity: Severity
    code: str
    message: str
    span: Span | None = None
    hint: str = ""
    related: tuple[tuple[Span, str], ...] = field(default=())
    unsupported: bool = False
    """True if the policy is right and the kernel lacks something (exit code 69)."""

    @classmethod
    def error(
        cls,
        code: str,
        span: Span | None,
        message: str,
        *,
        hint: str = "",
        related: Related = (),
        unsupported: bool = False,
    ) -> Diagnostic:
        """Build an error."""
        return cls("error", code, message, span, hint, tuple(related), unsupported)

    @classmethod
    def warning(cls, code: str, span: Span | None, message: str, *, hint: str = "") -> Diagnostic:
        """Build a warning."""
        return cls("warning", code, message, span, hint)

    @classmethod
    def note(cls, code: str, span: Span | None, message: str, *, hint: str = "") -> Diagnostic:
        """Build a note: something to know that needs no action."""
        return cls("note", code, message, span, hint)


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sort by place, without repetitions; findings without a place come last."""
    unique = dict.fromkeys(diagnostics)
    return sorted(
        unique,
        key=lambda d: (d.span is None, d.span or Span("", 0, 0, 0, 0), d.code, d.message),
    )


def limit_findings(diagnostics: Iterable[Diagnostic], texts: Mapping[str, str]) -> list[Diagnostic]:
    """Return the findings to show, in their order, limited in number and length.

    If not all are shown, errors take precedence. Places stay inside ``texts``, the texts of
    files by name.
    """
    found = in_order(diagnostics)
    rest = len(found) - limits.FINDINGS.most
    if rest > 0:
        kinds = ("error", "warning", "note")
        chosen = sorted(range(len(found)), key=lambda each: kinds.index(found[each].severity))
        found = [found[each] for each in sorted(chosen[: limits.FINDINGS.most])]
        message = f"{rest:,} more {'finding is' if rest == 1 else 'findings are'} not shown"
        hint = "fix these first, then try again"
        found.append(Diagnostic.note(limits.FINDINGS.code, None, message, hint=hint))
    lines = {name: text.splitlines() for name, text in texts.items()} if found else {}
    return [_readable(each, lines) for each in found]


def _readable(found: Diagnostic, lines: Mapping[str, Sequence[str]]) -> Diagnostic:
    return replace(
        found,
        message=shortened(found.message),
        hint=shortened(found.hint),
        span=found.span and _inside(found.span, lines),
        related=tuple((_inside(span, lines), shortened(text)) for span, text in found.related),
    )


def _inside(span: Span, lines: Mapping[str, Sequence[str]]) -> Span:
    """Return a place inside its file: parsers may stop after the end of one."""
    own = lines.get(span.file)
    if not own:
        return span
    line = min(span.line, len(own))
    column = min(span.column, len(own[line - 1]) + 1)
    return replace(span, line=line, column=column, end_line=max(span.end_line, line))


def visible(text: str, kept: str = "\n") -> str:
    """Escape characters that a terminal would obey or hide, except ``kept``.

    Names of files and processes may contain anything, and others than root choose them.
    """
    return "".join(
        each if each.isprintable() or each in kept else each.encode("unicode_escape").decode()
        for each in text
    )


def as_text(lines: Iterable[str]) -> str:
    """Return lines as text for people, in which content cannot leave its line or act as a command.

    GitHub Actions treats lines of a job's output that begin with `::` as commands, and anything
    after `##[`: a name could end a group, or mask and forge other output.
    """
    return "".join(f"{_disarmed(visible(each, kept=''))}\n" for each in lines)


def _disarmed(line: str) -> str:
    if line.lstrip().startswith("::"):
        line = line.replace(":", "\\x3a", 1)
    return line.replace("##[", "#\\x23[")


def is_whole(text: str) -> bool:
    """Return whether a text has no lone surrogate, which no UTF-8 file can hold.

    Python keeps each byte of a name or option that is not UTF-8 as a surrogate.
    """
    return text.isascii() or not re.search(_HALF, text)


def cell(text: str) -> str:
    """Write a name for a spreadsheet, which would read some as formulas."""
    shown = _disarmed(visible(text, kept=""))
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def render_text(diagnostics: Iterable[Diagnostic], texts: Mapping[str, str]) -> str:
    """Render for people: place, sentence, source line, caret, hint.

    ``texts`` maps a file name to its text, for the source lines.
    """
    blocks = []
    lines_of = {name: text.splitlines() for name, text in texts.items()}
    for diagnostic in in_order(diagnostics):
        where = f"{diagnostic.span}: " if diagnostic.span else ""
        lines = [f"{where}{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"]
        if diagnostic.span:
            lines += _excerpt(diagnostic.span, lines_of)
        for span, label in diagnostic.related:
            lines.append(f"  {span}: {label}")
            lines += _excerpt(span, lines_of)
        if diagnostic.hint:
            lines.append(f"  hint: {diagnostic.hint}")
        blocks.append(as_text(lines))
    return "\n".join(blocks)


def _width(text: str) -> int:
    """Count terminal cells, so that the caret is right below wide characters too."""
    import unicodedata

    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def _excerpt(span: Span, lines_of: Mapping[str, Sequence[str]]) -> list[str]:
    lines = lines_of.get(span.file, ())
    if not 1 <= span.line <= len(lines):
        return []
    source = "".join(char if char.isprintable() else " " for char in lines[span.line - 1])
    end = span.end_column if span.end_line == span.line else len(source) + 1
    start = span.column - 1
    source, start, end = _window(source, start, end - 1)
    caret = " " * _width(source[:start]) + "^" * max(1, _width(source[start:end]))
    number = str(span.line)
    gutter = " " * len(number)
    return [f"  {number} | {source}", f"  {gutter} | {caret}"]


def _window(source: str, start: int, end: int, most: int = 120) -> tuple[str, int, int]:
    """Cut a very long line around the caret."""
    if len(source) <= most:
        return source, start, end
    left = max(0, min(start - most // 3, len(source) - most))
    return source[left : left + most], start - left, min(end - left, most)


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """One diagnostic as plain data, for every ``--format json`` document."""
    return {
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint or None,
        "place": asdict(diagnostic.span) if diagnostic.span else None,
        "related": [{"place": str(span), "label": label} for span, label in diagnostic.related],
    }


def render_github(diagnostics: Iterable[Diagnostic]) -> str:
    """Render as workflow commands of GitHub Actions, one line each."""
    kinds = {"error": "error", "warning": "warning", "note": "notice"}
    lines = []
    for diagnostic in in_order(diagnostics):
        place = ""
        if diagnostic.span:
            span = diagnostic.span
            file = _escape(span.file, property_value=True)
            place = (
                f" file={file},line={span.line},endLine={span.end_line}"
                f",col={span.column},endColumn={span.end_column},title={diagnostic.code}"
            )
        text = diagnostic.message + (f"\nhint: {diagnostic.hint}" if diagnostic.hint else "")
        lines.append(f"::{kinds[diagnostic.severity]}{place}::{_escape(text)}\n")
    return "".join(lines)


def _escape(text: str, *, property_value: bool = False) -> str:
    text = visible(text).replace("%", "%25").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if property_value else text


def render_sarif(diagnostics: Iterable[Diagnostic]) -> str:
    """Render as a SARIF 2.1.0 log with one run."""
    import json

    found = in_order(diagnostics)
    results: list[dict[str, Any]] = []
    for diagnostic in found:
        text = diagnostic.message + (f" (hint: {diagnostic.hint})" if diagnostic.hint else "")
        result: dict[str, Any] = {
            "ruleId": diagnostic.code,
            "level": diagnostic.severity,
            "message": {"text": text},
        }
        if diagnostic.span:
            result["locations"] = [{"physicalLocation": _location(diagnostic.span)}]
        results.append(result)
    rules = [{"id": code} for code in sorted({each.code for each in found})]
    tool = {"driver": {"name": "damonpolicy", "version": __version__, "rules": rules}}
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": tool, "columnKind": "unicodeCodePoints", "results": results}],
    }
    return json.dumps(log, indent=2) + "\n"


def _location(span: Span) -> dict[str, Any]:
    from urllib.parse import quote

    names = ("startLine", "startColumn", "endLine", "endColumn")
    numbers = (span.line, span.column, span.end_line, span.end_column)
    uri = quote(os.fsencode(span.file))
    return {"artifactLocation": {"uri": uri}, "region": dict(zip(names, numbers, strict=True))}


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word most similar to another one; empty if none is."""
    from difflib import get_close_matches

    # a word of very different length is not meant, and thousands would take too long
    near = [each for each in known if abs(len(each) - len(word)) <= len(word) // 2 + 2]
    asked = word.lower() if len(word) <= _LONGEST_WORD else ""
    return next(iter(get_close_matches(asked, near[:_MOST_COMPARED], n=1, cutoff=0.6)), "")


def did_you_mean(word: str, known: Iterable[str], before: str = "") -> str:
    """Return a hint that names the closest known word, or all of them if there are few.

    ``before`` is shown before each of them.
    """
    words = list(dict.fromkeys(known))
    if close := closest(word, words):
        return f"did you mean `{before}{close}`?"
    if len(words) == 1:
        return f"there is only `{before}{words[0]}`"
    if 0 < len(words) <= 16:
        return "one of " + ", ".join(f"`{before}{each}`" for each in words)
    return ""
