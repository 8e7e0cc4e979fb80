"""Characters from copied text that look like YAML's but are not."""

from __future__ import annotations

import re

__all__ = ("SPACES", "ascii_like", "name_of", "unquote")

SPACES = "\u00a0\u2000-\u200a\u202f\u205f\u3000\u200b\u2060"
"""Characters that look like spaces but are not to YAML, for a regular expression class."""

_OPEN, _CLOSE = "“”„‟‘’‚‛«»", "“”‟‘’‛«»"
_QUOTED = re.compile(rf"[{_OPEN}]([^{_OPEN}{_CLOSE}]+)[{_CLOSE}]")
_SPACE = re.compile(rf"[{SPACES}]")
_DASH = "[\u2010-\u2015\u2212]"
_OTHERS = str.maketrans({"：": ": ", "，": ", ", "％": "%", "µ": "u", "μ": "u"})
_NAMES = {"\u00a0": "a no-break space", "：": "a full-width colon"}


def unquote(text: str) -> str:
    """Return the text between a pair of typographic quotes; empty if there is no pair."""
    found = _QUOTED.fullmatch(text.strip())
    return found[1] if found else ""


def ascii_like(text: str) -> str:
    """Replace characters by the ASCII characters that they look like."""
    plain = re.sub(_DASH, "-", _SPACE.sub(" ", text)).translate(_OTHERS).replace(":  ", ": ")
    return unquote(plain) or plain


def name_of(char: str) -> str:
    """Return the name of a character, for a message."""
    return f"{_NAMES.get(char, 'a look-alike')} (U+{ord(char):04X})"
