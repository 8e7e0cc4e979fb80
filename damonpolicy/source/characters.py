"""Characters that look like those of YAML and are others: they come with copied text."""

from __future__ import annotations

import re

__all__ = ("SPACES", "ascii_like", "name_of", "unquoted")

SPACES = "\u00a0\u2000-\u200a\u202f\u205f\u3000\u200b\u2060"
"""Spaces that are none to YAML, for a class of a regular expression."""

_OPEN, _CLOSE = "“”„‟‘’‚‛«»", "“”‟‘’‛«»"
_QUOTED = re.compile(rf"[{_OPEN}]([^{_OPEN}{_CLOSE}]+)[{_CLOSE}]")
_SPACE = re.compile(rf"[{SPACES}]")
_DASH = re.compile("[\u2010-\u2015\u2212]")
_OTHERS = str.maketrans({"：": ": ", "，": ", ", "％": "%", "µ": "u", "μ": "u"})
_NAMES = {"\u00a0": "a no-break space", "：": "a full-width colon"}


def unquoted(text: str) -> str:
    """Return what stands between a pair of typographic quotes; empty where none are around it."""
    found = _QUOTED.fullmatch(text.strip())
    return found[1] if found else ""


def ascii_like(text: str) -> str:
    """Write a text with the characters of ASCII that it seems to consist of."""
    plain = _DASH.sub("-", _SPACE.sub(" ", text)).translate(_OTHERS).replace(":  ", ": ")
    return unquoted(plain) or plain


def name_of(char: str) -> str:
    """Say what a character is, for a message."""
    return f"{_NAMES.get(char, 'a look-alike')} (U+{ord(char):04X})"
