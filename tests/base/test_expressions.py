"""Regular expressions mean what Python's mean, and take time in proportion to the text."""

from __future__ import annotations

import random
import re
import time
import warnings

import pytest

from damonpolicy.base import limits
from damonpolicy.base.expressions import Expression, ExpressionError

PARTS = [
    "a", "b", "x", "-", ".", " ", "1", "_", "é", "ß", r"\d", r"\w", r"\s", r"\S", r"\W", r"\D",
    "[ab]", "[^ab]", "[a-c_]", "[]a]", "[^]]", r"[\d-]", r"[a\-z]", r"[\b]", "^", "$", r"\b",
    r"\B", r"\A", r"\Z", "(?:", "(", "(?P<n>", ")", "|", "*", "+", "?", "{2}", "{1,3}", "{,2}",
    "{2,}", "*?", r"\.", "{", "}", r"\x61", "]", r"\t", r"\u00e9",
]  # fmt: skip


def test_expressions_find_what_pythons_find():
    chance = random.Random(5)
    compared = 0
    for _ in range(20_000):
        text = "".join(chance.choice(PARTS) for _ in range(chance.randrange(1, 9)))
        text = chance.choice(("", "", "", "(?i)", "(?s)")) + text
        if text.count("(?P<n>") > 1:
            continue  # which Python refuses, and nobody minds
        searched = "".join(chance.choice("aabbxxAB 1_-.éß{}]\n\t") for _ in range(9)) + "."
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = re.compile(text)
        except re.error:
            with pytest.raises(ExpressionError):
                Expression(text)
            continue
        try:
            ours = Expression(text)
        except ExpressionError as error:
            assert error.code == "DP0037", text
            continue
        compared += 1
        assert ours.found(searched) == bool(theirs.search(searched)), (text, searched)
    assert compared > 3_000


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("(x+)+y", "x" * 4_096),
        ("(x|x)*y", "x" * 4_096),
        ("(x*)*y", "x" * 4_096),
        ("(.*x.*){10}y", "x" * 4_096),
        ("(x?){100}x{100}y", "x" * 4_096),
        ("(a|b|ab|ba)*c", "ab" * 2_048),
        (r"^(\w+\s?)*$", "word " * 800 + "!"),
    ],
)
def test_what_python_would_search_for_hours_is_searched_in_moments(text, searched):
    began = time.process_time()

    assert not Expression(text).found(searched)
    assert time.process_time() - began < 5  # Python's would not end


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (r"(a)\1", "references"),
        ("(?=a)", "groups that begin"),
        ("(?<!a)b", "groups that begin"),
        ("(?>a)", "groups that begin"),
        ("a++", "possessive"),
        ("(?m)^a", "flags"),
        ("((a{50}){50}){50}", "too large"),
        ("a{1001}", "1000 times"),
        ("(" * 90 + "a" + ")" * 90, "too deeply"),
        (r"\07", "octal"),
    ],
)
def test_what_could_not_be_bounded_is_named(text, why):
    with pytest.raises(ExpressionError, match=why) as caught:
        Expression(text)
    assert caught.value.code == "DP0037"


def test_what_was_met_is_forgotten_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(Expression, "_MOST_KEPT", 10)
    expression = Expression("(a|b)*abb.[c-z]")

    assert not expression.found("ab" * 500)
    assert expression._kept <= 11
    assert expression.found("ab" * 500 + "abbxz")


def test_only_the_beginning_of_a_command_line_is_searched():
    far = "x" * limits.EXPRESSION_LOOKS.most + "needle"
    assert not Expression("needle").found(far)
    assert Expression("needle").found(far[1_000:])
