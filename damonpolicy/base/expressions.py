"""Regular expressions with run time linear in the text.

Whoever runs a process chooses its command line. Python's `re` backtracks, and `(x+)+y` has
exponentially many ways to match a row of `x`. Here all ways are tried at once, with a set of states
(Thompson's construction), and known sets are cached.

The syntax is that of Python's `re`, without features that look back: references, look-around,
atomic groups and possessive repeats. The only answer is whether an expression is found, so greedy
and lazy repeats are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from functools import lru_cache
from string import hexdigits
from typing import TypeAlias

from damonpolicy.base import limits
from damonpolicy.base.lazy import dataclass

__all__ = ("Expression", "ExpressionError", "compiled")


class ExpressionError(ValueError):
    """An invalid regular expression, or one that is not accepted."""

    def __init__(self, message: str, code: str = "DP0124") -> None:
        super().__init__(message)
        self.code = code


Test: TypeAlias = Callable[[str], bool]

_CLASSES: dict[str, Test] = {
    "d": str.isdecimal,
    "w": lambda char: char.isalnum() or char == "_",
    "s": lambda char: char.isspace(),
}
_CLASSES |= {
    "D": lambda char: not char.isdecimal(),
    "W": lambda char: not _CLASSES["w"](char),
    "S": lambda char: not char.isspace(),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}
_HEXADECIMAL = {"x": 2, "u": 4, "U": 8}
_PLACES = {"^": "start", "$": "end", "\\A": "start", "\\Z": "end", "\\b": "edge", "\\B": "inside"}
_MOST_DEPTH = 40
_MOST_REPEATS = 1000

_END = ""
"""A placeholder for the character after the last, and before the first."""


_Part: TypeAlias = Callable[["Expression", int], int]
"""Add the states of a part to an expression, before a state; return the first of them."""


def _char(test: Test) -> _Part:
    return lambda made, then: made.add((then,), test=test)


def _row(parts: Sequence[_Part]) -> _Part:
    def make(made: Expression, then: int) -> int:
        for part in reversed(parts):
            then = part(made, then)
        return then

    return make


def _repeat(part: _Part, least: int, most: int | None) -> _Part:
    def make(made: Expression, then: int) -> int:
        if most is None:
            loop = made.add(())
            made.states[loop].then = (part(made, loop), then)
            then = loop
        for _ in range((most or least) - least):
            then = made.add((part(made, then), then))
        for _ in range(least):
            then = part(made, then)
        return then

    return make


class _Parser:
    """A parser that reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.all_cases = self.any_newline = False

    def peek(self, ahead: int = 0) -> str:
        return self.text[self.at + ahead : self.at + ahead + 1]

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise self.wrong("it ends too early")
        self.at += 1
        return char

    def wrong(self, what: str) -> ExpressionError:
        return ExpressionError(f"{what} (at character {min(self.at, len(self.text)) + 1})")

    def lacks(self, what: str) -> ExpressionError:
        return ExpressionError(f"{what} not part of it (at character {self.at + 1})", "DP0037")

    def whole(self) -> _Part:
        if self.text.startswith("(?") and self.peek(2) in tuple("ismxaLu"):
            flags, closed, _ = self.text[2:].partition(")")
            if not closed or set(flags) - set("is"):
                raise self.lacks("flags other than `i` and `s` are")
            self.all_cases, self.any_newline = "i" in flags, "s" in flags
            self.at = len(flags) + 3
        found = self.choice()
        if self.peek():
            raise self.wrong("a `)` closes nothing")
        return found

    def choice(self) -> _Part:
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise ExpressionError("its groups are nested too deeply", "DP0037")
        rows = [self.row()]
        while self.peek() == "|":
            self.at += 1
            rows.append(self.row())
        self.depth -= 1
        if len(rows) == 1:
            return rows[0]
        return lambda made, then: made.add([row(made, then) for row in rows])

    def row(self) -> _Part:
        parts: list[_Part] = []
        while self.peek() not in ("", "|", ")"):
            part = self.place() or self.repeated(self.atom())
            parts.append(part)
        return _row(parts)

    def place(self) -> _Part | None:
        sign = next((each for each in _PLACES if self.text.startswith(each, self.at)), "")
        if not sign:
            return None
        self.at += len(sign)
        if self.bounds() is not None:
            raise self.wrong("a place cannot be repeated")
        return lambda made, then: made.add((then,), place=_PLACES[sign])

    def repeated(self, part: _Part) -> _Part:
        bounds = self.bounds()
        if bounds is None:
            return part
        if self.peek() == "?":
            self.at += 1
        elif self.peek() == "+":
            raise self.lacks("possessive repeats are")
        if self.peek() in ("*", "+", "?") or self.bounds() is not None:
            raise self.wrong("a repeat is repeated")
        return _repeat(part, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        char = self.peek()
        if char in simple:
            self.at += 1
            return simple[char]
        if char != "{":
            return None
        inside, closed, _ = self.text[self.at + 1 :].partition("}")
        low, comma, high = inside.partition(",")
        if not closed or not inside.strip(",") or not _digits(low) or not _digits(high):
            return None  # Python takes it for itself, too
        least = int(low or 0)
        most = int(high) if high else None if comma else least
        if max(least, most or 0) > _MOST_REPEATS:
            raise ExpressionError(f"it repeats more than {_MOST_REPEATS} times", "DP0037")
        if most is not None and most < least:
            raise self.wrong("a repeat ends before it begins")
        self.at += len(inside) + 2
        return least, most

    def atom(self) -> _Part:
        if self.peek() in tuple("*+?") or self.bounds() is not None:
            raise self.wrong("nothing is there to repeat")
        char = self.take()
        if char == "(":
            return self.group()
        if char == "[":
            return _char(self.set())
        if char == ".":
            return _char((lambda _: True) if self.any_newline else (lambda each: each != "\n"))
        return _char(self.escape()[1] if char == "\\" else self.literal(char))

    def group(self) -> _Part:
        if self.peek() == "?":
            named = self.text.startswith("?P<", self.at)
            end = self.text.find(">", self.at) if named else self.at + 1
            name = self.text[self.at + 3 : end] if named else "n"
            if end < 0 or not name.isidentifier() or (not named and self.peek(1) != ":"):
                raise self.lacks("groups that begin with `(?`, but for `(?:` and `(?P<`, are")
            self.at = end + 1
        found = self.choice()
        if self.peek() != ")":
            raise self.wrong("a `(` is not closed")
        self.at += 1
        return found

    def escape(self) -> tuple[str, Test]:
        """Return the escaped character, if it is one, and its test."""
        char = self.take()
        if char in _CLASSES:
            return "", _CLASSES[char]
        if char in _HEXADECIMAL:
            digits = self.text[self.at : self.at + _HEXADECIMAL[char]]
            if len(digits) < _HEXADECIMAL[char] or not set(digits) <= set(hexdigits):
                raise self.wrong("an escape is cut short")
            self.at += len(digits)
            if int(digits, 16) > 0x10FFFF:
                raise self.wrong("there is no such character")
            char = chr(int(digits, 16))
        elif char == "0" and self.peek().isdigit():
            raise self.lacks("octal escapes are")
        elif char in _CONTROLS:
            char = _CONTROLS[char]
        elif char.isascii() and char.isdigit():
            raise self.lacks("references to groups are")
        elif char.isascii() and char.isalpha():
            raise self.wrong(f"there is no escape `\\{char}`")
        return char, self.literal(char)

    def literal(self, char: str) -> Test:
        if self.all_cases:
            both = {char, char.lower(), char.upper()}
            return lambda each: bool(both & {each, each.lower(), each.upper()})
        return char.__eq__

    def set(self) -> Test:
        """Read what stands between `[` and `]`."""
        others = self.peek() == "^"
        self.at += others
        tests: list[Test] = []
        first = True
        while first or self.peek() != "]":
            first = False
            low, test = self.one_of_set()
            if self.peek() == "-" and self.peek(1) not in ("]", ""):
                self.at += 1
                high, _ = self.one_of_set()
                if not low or not high:
                    raise self.wrong("a class cannot be the end of a range")
                if low > high:
                    raise self.wrong("a range goes backwards")
                test = self.between(low, high)
            tests.append(test)
        self.at += 1
        if len(tests) == 1 and not others:
            return tests[0]
        return lambda char: any(test(char) for test in tests) != others

    def one_of_set(self) -> tuple[str, Test]:
        char = self.take()
        if char == "\\":
            if self.peek() == "b":
                self.at += 1
                return "\b", self.literal("\b")
            return self.escape()
        return char, self.literal(char)

    def between(self, low: str, high: str) -> Test:
        if self.all_cases:
            return lambda char: any(
                low <= each <= high for each in (char, char.lower(), char.upper())
            )
        return lambda char: low <= char <= high


def _digits(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and len(text) <= 9)


@dataclass(slots=True)
class _State:
    """A state with a way to ``then``: a character that passes ``test``, a ``place``, or none."""

    then: tuple[int, ...] = ()
    test: Test | None = None
    place: str = ""


@dataclass(slots=True, eq=False)
class _Met:
    """A set of states between two characters; ``next`` maps a character to the set after it."""

    states: frozenset[int]
    before: str
    next: dict[str, _Met | bool] = field(default_factory=dict)


class Expression:
    """A regular expression that can be searched for."""

    _MOST_KEPT = 10_000

    def __init__(self, text: str) -> None:
        self.states: list[_State] = [_State()]
        """State 0 is the end."""
        self._first = _Parser(text).whole()(self, 0)
        self._forget()

    def add(self, then: Iterable[int], **more: object) -> int:
        """Add a state before others; return its number."""
        if len(self.states) > limits.EXPRESSION_STATES.most:
            raise ExpressionError("it is too large once its repeats are written out", "DP0037")
        self.states.append(_State(tuple(then), **more))  # type: ignore[arg-type]  # its fields
        return len(self.states) - 1

    def found(self, text: str) -> bool:
        """Return whether a text contains a match; only a limited part is searched."""
        met = self._begin
        for char in (*text[: limits.EXPRESSION_LOOKS.most], _END):
            following = met.next.get(char)
            if following is None:
                following = self._step(met, char)
            if isinstance(following, bool):
                return following
            met = following
        return False

    def _forget(self) -> None:
        self._begin = _Met(frozenset((self._first,)), _END)
        self._known = {(self._begin.states, _END): self._begin}
        self._kept = 0

    def _step(self, met: _Met, char: str) -> _Met | bool:
        """Consume one character, and cache the next set; True for a match."""
        result: _Met | bool
        if self._kept >= self._MOST_KEPT:
            self._forget()
        here = self._reached(met, char)
        if 0 in here or char == _END:
            result = 0 in here
        else:
            passed = [self.states[each] for each in here if self.states[each].test]
            then = [each.then for each in passed if each.test and each.test(char)]
            states = frozenset((self._first, *(each for some in then for each in some)))
            before = "w" if _CLASSES["w"](char) else "o"
            result = self._known.setdefault((states, before), _Met(states, before))
        met.next[char] = result
        self._kept += 1
        return result

    def _reached(self, met: _Met, char: str) -> set[int]:
        """Return all states that can be reached without a character."""
        edge = (met.before == "w") != (char != _END and _CLASSES["w"](char))
        holds = {
            "start": met.before == _END,
            "end": char == _END,
            "edge": edge,
            "inside": not edge,
        }
        reached: set[int] = set()
        waiting = list(met.states)
        while waiting:
            number = waiting.pop()
            state = self.states[number]
            if number in reached or (state.place and not holds[state.place]):
                continue
            reached.add(number)
            if state.test is None:
                waiting.extend(state.then)
        return reached


@lru_cache(maxsize=256)
def compiled(text: str) -> Expression:
    """Return a compiled expression, cached. Raises ExpressionError."""
    return Expression(text)
