"""Streaming JSON reader: it decodes requested values, and skips the rest.

`json.loads` makes an object of each `{}` in a file, and a megabyte may unpack to sixty million of
them. Here only a window of the text is in memory, unrequested values are never made, and lists come
in batches, each decoded by `json` at full speed.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from damonpolicy.base.limits import RECORD_TOKEN
from damonpolicy.observe.regions import Array

__all__ = ("JsonStream",)

_SPACE = re.compile(r"[ \t\n\r]*")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_PLAIN = re.compile(r"[^\s,:\[\]{}\"]*")
_BATCH = 1 << 17
"""Characters after which a batch of a list ends."""

_QUOTE = ord('"')
_STEPS = np.zeros(256, np.int8)
_STEPS[[ord(each) for each in "[{"]], _STEPS[[ord(each) for each in "]}"]] = 1, -1


def _constant(name: str) -> None:
    raise ValueError(f"`{name}` is not a number")


class JsonStream:
    """A reader of one document from pieces of bytes.

    The caller takes each value once: by `value`, `skip`, `names`, `items`, `batches`. Raises
    ValueError if the text is not JSON, or a decoded value is longer than its limit.
    """

    def __init__(self, pieces: Iterator[bytes], window: int = RECORD_TOKEN.most) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder(parse_constant=_constant)
        self._window = window
        self._text = ""
        self._at = 0
        self._ended = False

    def _more(self) -> bool:
        """Read one more piece; False at the end."""
        if self._ended:
            return False
        piece = next(self._pieces, b"")
        self._ended = not piece
        self._text = self._text[self._at :] + self._decoder.decode(piece, final=self._ended)
        self._at = 0
        return not self._ended

    def _ensure(self) -> None:
        """Fill a whole window, unless the end is nearer."""
        while len(self._text) - self._at < self._window and self._more():
            pass

    def peek(self) -> str:
        """Return the next character that is not white space, an empty text at the end."""
        while True:
            self._at = _after_space(self._text, self._at)
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _expect(self, characters: str) -> str:
        char = self.peek()
        if not char or char not in characters:
            what = f"`{char}`" if char else "the end"
            raise ValueError(f"{what} found where one of `{characters}` is expected")
        self._at += 1
        return char

    def _enter(self, brackets: str) -> bool:
        """Go into an object or a list; return whether there is something in it."""
        self._expect(brackets[0])
        empty = self.peek() == brackets[1]
        self._at += empty
        return not empty

    def end(self) -> None:
        """Refuse anything after the document."""
        if self.peek():
            raise ValueError("there is something after its end")

    def value(self) -> Any:
        """Decode the next value, which has to be short."""
        self.peek()
        self._ensure()
        try:
            found, at = self._json.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            if len(self._text) - self._at >= self._window:
                raise ValueError(f"a value is longer than {self._window:,} characters") from error
            # without its position, which is meaningless, as it is one in a window
            raise ValueError(error.msg[:1].lower() + error.msg[1:]) from error
        if at - self._at > self._window:
            raise ValueError(f"a value is longer than {self._window:,} characters")
        self._at = at
        return found

    def names(self) -> Iterator[str]:
        """Yield the keys of an object; the value of each is taken before the next."""
        more = self._enter("{}")
        while more:
            if self.peek() != '"':
                raise ValueError("a key is expected")
            key: str = self.value()
            self._expect(":")
            yield key
            more = self._expect(",}") == ","

    def items(self) -> Iterator[None]:
        """Iterate over a list of large values; each is taken before the next."""
        more = self._enter("[]")
        while more:
            yield
            more = self._expect(",]") == ","

    def batches(self) -> Iterator[list[Any] | None]:
        """Yield the items of a list in batches.

        None is an item that does not fit into a window, to be taken before the next.
        """
        more = self._enter("[]")
        while more:
            items, last = self._some()
            yield items or None
            more = not last and (bool(items) or self._expect(",]") == ",")

    def _some(self) -> tuple[list[Any], bool]:
        """Decode a batch of a list's items, up to one that does not fit; return whether it ended."""
        self._ensure()
        items: list[Any] = []
        text, until = self._text, self._at + _BATCH
        while self._at < until:
            try:
                found, at = self._json.raw_decode(text, _after_space(text, self._at))
            except json.JSONDecodeError:
                break  # it is cut, or wrong: taking it alone shows which
            next_at = _after_space(text, at)
            if text[next_at : next_at + 1] not in (",", "]"):
                break
            items.append(found)
            self._at = next_at + 1
            if text[next_at] == "]":
                return items, True
        return items, False

    def skip(self) -> None:
        """Skip the next value of any type, without decoding it."""
        char = self.peek()
        if char not in tuple('"[{'):
            self._ensure()
            found = _PLAIN.match(self._text, self._at)
            if not found or found.end() == self._at:
                raise ValueError(f"`{char}` is not a value" if char else "it ends in the middle")
            self._at = found.end()
            return
        depth, inside = 0, False
        while True:
            part = self._text[self._at : self._at + _BATCH]
            # half an escape waits for the other half
            part = part[: len(part) - (len(part) - len(part.rstrip("\\"))) % 2]
            if not part:
                if not self._more():
                    raise ValueError("it ends in the middle")
                continue
            depths, within, inside = _levels(part, depth, inside=inside)
            ends = np.flatnonzero((depths <= 0) & ~within)
            if len(ends):
                self._at += int(ends[0]) + 1
                return
            self._at += len(part)
            depth = int(depths[-1])


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _levels(text: str, depth: int, *, inside: bool) -> tuple[Array, Array, bool]:
    """Return, after each character, the number of open brackets and whether it is in a text.

    ``depth`` and ``inside`` are so before the first; the last of the result is so after the last.
    """
    text = _ESCAPED.sub("__", text) if "\\" in text else text
    form, kind = ("ascii", np.uint8) if text.isascii() else ("utf-32-le", np.uint32)
    codes = np.frombuffer(text.encode(form, "surrogatepass"), kind)
    steps = _STEPS[np.minimum(codes, 255)]
    if inside or '"' in text:
        within = (np.cumsum(codes == _QUOTE, dtype=np.int32) + inside) & 1 == 1
        steps[within] = 0
    else:
        within = np.zeros(len(codes), bool)
    levels = np.cumsum(steps, dtype=np.int64) + depth
    return levels, within, bool(within[-1]) if len(within) else inside
