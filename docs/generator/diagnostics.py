"""What each code means; examples are those of tests/errors."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from generator.markdown import MADE, anchor

__all__ = ("link", "page")

_CODE = re.compile(r"DP\d{4}")
_SAID = re.compile(r"\[DP\d{4}\]: (.*)|^  hint: (.*)", re.MULTILINE)
_SMALL = re.compile(r"\b(?:a|an|and|are|as|in|is|it|of|or|that|the|them|this|to)\b")
_FAMILIES = {
    "DP00": "Files, YAML, templates",
    "DP01": "Keys and values",
    "DP02": "What cannot be right together",
    "DP03": "What this machine does not have",
    "DP04": "What this kernel does not have",
    "DP05": "How a command ended",
    "DP06": "Warnings and notes",
}


def page(docs: Path) -> str:
    """Return the page; raises SystemExit where codes and explanations do not agree."""
    texts = _texts(docs)
    used = codes(docs.parent / "damonpolicy")
    if used != set(texts):
        message = (
            f"without a text: {sorted(used - set(texts))}; unused: {sorted(set(texts) - used)}"
        )
        raise SystemExit(message)
    cases = docs.parent / "tests/errors"
    parts = [
        "# Diagnostics\n",
        MADE,
        (
            "Every finding has a code that never changes its meaning. Findings in a policy have a place:"
            " file, line, column. An error refuses the policy; a warning does not, but for"
            " `validate --strict`; a note tells what was done on your behalf.\n"
        ),
    ]
    family = ""
    for code in sorted(texts):
        if code[:4] != family:
            family = code[:4]
            parts.append(f"## {_FAMILIES[family]}\n")
        parts += [f"### {_heading(docs, code)}\n", texts[code]["means"] + "\n"]
        example = ""
        if "example" in texts[code]:
            example = _example(cases / texts[code]["example"], code)
            parts.append(f"```text\n{example}\n```\n")
        if advice := _advice(texts[code], example):
            parts.append(advice + "\n")
    return "\n".join(parts)


def _heading(docs: Path, code: str) -> str:
    """Return the heading under which a code is explained."""
    return f"{code}: {_texts(docs)[code]['title']}"


def link(docs: Path, code: str, shown: str = "") -> str:
    """Return a link from another page of the reference to where a code is explained."""
    return f"[{shown or code}](diagnostics.md#{anchor(_heading(docs, code))})"


@cache
def _texts(docs: Path) -> dict[str, dict[str, str]]:
    return tomllib.loads((docs / "texts/diagnostics.toml").read_text(encoding="utf-8"))


def _advice(text: dict[str, str], example: str) -> str:
    """Return what to do, without the sentences of which an example has every word."""
    said = _words(" ".join(each for pair in _SAID.findall(example) for each in pair))
    sentences = re.split(r"(?<=\.)\s+", text.get("beside", text["do"]))
    return " ".join(each for each in sentences if not _words(each) <= said)


def _words(text: str) -> set[str]:
    """Return the words that carry a meaning, without the `s` of a plural or a verb."""
    words = re.findall(r"\w+", _SMALL.sub(" ", text.lower()))
    return {word.removesuffix("s") for word in words}


def codes(package: Path) -> set[str]:
    """Return every code that the package uses."""
    return {
        code
        for path in package.rglob("*.py")
        for code in _CODE.findall(path.read_text(encoding="utf-8"))
    }


def _example(case: Path, code: str) -> str:
    """Return a finding of a test, as users see it."""
    blocks = (case / "stderr.txt").read_text(encoding="utf-8").strip().split("\n\n")
    return next(block for block in blocks if f"[{code}]" in block)
