"""The page of diagnostics does not say twice what its examples say."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs/reference/diagnostics.md"
ENTRY = re.compile(
    r"^### (DP\d{4}): .*\n\n(?P<means>.*)\n\n```text\n(?P<example>(?:.*\n)*?)```\n(?:\n(?P<do>[^#\n].*)\n)?",
    re.MULTILINE,
)
SMALL = re.compile(
    r"\b(?:a|an|and|are|as|be|in|is|it|its|of|one|or|that|the|them|then|there|this|to)\b"
)


def entries():
    """Each code with an example: what it means, the message and the hint, what to do."""
    for found in ENTRY.finditer(PAGE.read_text(encoding="utf-8")):
        said = re.findall(r"\[DP\d{4}\]: (.*)|^  hint: (.*)", found["example"], re.MULTILINE)
        message, hint = ("".join(each) for each in zip(*said, strict=True))
        yield pytest.param(found["means"], message, hint, found["do"] or "", id=found[1])


def words(text):
    """The words that carry a meaning, in the singular."""
    found = re.findall(r"\w+", SMALL.sub(" ", text.lower()))
    return {word.removesuffix("s") for word in found}


def plain(text):
    """A text in lower case, without quotes and stops."""
    return " ".join(word.strip("`.,:;()") for word in text.lower().split())


def repeated(text, other):
    """How many words in a row stand in both texts, at most."""
    words, said = plain(text).split(), f" {plain(other)} "
    rows = (words[a:b] for a in range(len(words)) for b in range(a + 1, len(words) + 1))
    return max((len(row) for row in rows if f" {' '.join(row)} " in said), default=0)


def test_every_example_is_looked_at():
    text = PAGE.read_text(encoding="utf-8")

    assert len(list(entries())) == text.count("```text\n") > 100


@pytest.mark.parametrize(("means", "message", "hint", "do"), list(entries()))
def test_advice_below_an_example_adds_to_it(means, message, hint, do):
    for sentence in re.split(r"(?<=[.;])\s+", do):
        said = words(sentence) & words(f"{message} {hint}")
        assert len(said) <= len(words(sentence)) / 2, (sentence, said)


@pytest.mark.parametrize(("means", "message", "hint", "do"), list(entries()))
def test_what_a_code_means_is_not_its_message_again(means, message, hint, do):
    assert repeated(means, message) <= 5
    assert repeated(means, hint) <= 5


def test_only_a_hint_takes_the_place_of_advice():
    texts = tomllib.loads((ROOT / "docs/texts/diagnostics.toml").read_text(encoding="utf-8"))
    hints = {each.id: each.values[2] for each in entries()}

    assert all(hints.get(code) for code, text in texts.items() if "beside" in text)
