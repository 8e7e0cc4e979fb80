"""Parser of plain POSIX shell lines: words, quotes and variables, nothing that computes.

Variables are looked up at their statement, so `A=1; echo $A > FILE` is read as a
shell reads it. The grammar is that of POSIX.1-2017, Shell Command Language, 2.2 to 2.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ("LONGEST", "Computed", "Operator", "statements")

LONGEST = 16_384
"""Characters of a word."""
_OPERATORS = re.compile(r"&&|\|\||;;|>>|>\||>&|&>|<<|[0-9]+>|[;&|<>]")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_COMPUTES = "`*?[(){}"
_SPACE = " \t"


class Computed(Exception):
    """A part of a line whose value only a shell can compute."""


class Operator(str):
    """`>`, `|`, `||` and the like; a word of the same characters is quoted."""

    __slots__ = ()


def statements(line: str, variables: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the words of each statement of a line; `||` and `|` stay among them as operators.

    Raises Computed if a word is not plain, and ValueError if a quote is not closed.
    """
    words: list[str] = []
    at = 0
    while at < len(line):
        if line[at] in _SPACE:
            at += 1
        elif line[at] == "#":
            break
        elif found := _OPERATORS.match(line, at):
            at = found.end()
            if found[0] in (";", "&&"):
                yield words
                words = []
            else:
                words.append(Operator(found[0]))
        else:
            word, at = _word(line, at, variables)
            words.append(word)
    yield words


def _word(line: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """Return the word that begins at a position, and its end."""
    parts: list[str] = []
    size = 0
    while at < len(line) and line[at] not in _SPACE and line[at] not in ";&|<>":
        part, at = _part(line, at, variables)
        parts.append(part)
        size += len(part)
        if size > LONGEST:
            raise Computed(f"{line[:20]}…, which has more than {LONGEST:,} characters")
    return "".join(parts), at


def _part(line: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    char = line[at]
    if char == "'":
        end = _closed(line.find("'", at + 1))
        return line[at + 1 : end], end + 1
    if char == '"':
        return _quoted(line, at + 1, variables)
    if char == "\\":
        return line[at + 1 : at + 2], at + 2
    if char == "$":
        return _variable(line, at, variables)
    if char in _COMPUTES:
        raise Computed(line[at:].split(maxsplit=1)[0])
    return char, at + 1


def _quoted(line: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(line) and line[at] != '"':
        if line[at] == "`":
            raise Computed(line[at:].split(maxsplit=1)[0])
        if line[at] == "$":
            part, at = _variable(line, at, variables)
        elif line[at] == "\\" and line[at + 1 : at + 2] in ('"', "\\", "$", "`"):
            part, at = line[at + 1], at + 2
        else:
            part, at = line[at], at + 1
        parts.append(part)
    return "".join(parts), _closed(at if at < len(line) else -1) + 1


def _variable(line: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    found = _VARIABLE.match(line, at)
    if found is None:
        raise Computed(line[at:].split(maxsplit=1)[0])
    name = found[1] or found[2]
    if name not in variables:
        raise Computed(found[0])
    return variables[name], found.end()


def _closed(at: int) -> int:
    if at < 0:
        raise ValueError("a quote is not closed")
    return at
