"""A checksum of a whole Parquet file, invisible to other readers of Parquet.

It is between the data and the footer, where nothing points to. A library written for speed trusts a
file's content, and one flipped bit can crash the process. So no part of our file is handed to it
before the whole file is verified.
"""

from __future__ import annotations

import hashlib
from typing import IO

__all__ = ("Damaged", "seal", "verified")

_MARK = b"damonpolicy.sum\0"
_DIGEST = 32
_BLOCK = len(_MARK) + _DIGEST
_MAGIC = b"PAR1"
_TAIL = 8
"""The footer's length in four bytes, and Parquet's magic word."""

_CHUNK = 1 << 20


class Damaged(ValueError):
    """A file differs from what was written."""


def seal(file: IO[bytes]) -> None:
    """Insert the checksum into a complete file that is open for reading and writing."""
    size = file.seek(0, 2)
    at = _footer(file, size)
    digest = _digest(file, size, at, at)
    file.seek(at)
    footer = file.read(size - at)
    file.seek(at)
    file.write(_MARK + digest + footer)
    file.flush()


def verified(path: str) -> bool:
    """Return whether a file has a checksum. Raises Damaged if the checksum is wrong."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        at = _footer(file, size)
        if file.read(4) != _MAGIC or not at:
            raise Damaged("its end is missing")
        if at < _BLOCK:
            return False
        file.seek(at - _BLOCK)
        block = file.read(_BLOCK)
        if not block.startswith(_MARK):
            return False
        if _digest(file, size, at - _BLOCK, at) != block[len(_MARK) :]:
            raise Damaged("its checksum is wrong: it was damaged since it was written")
    return True


def _footer(file: IO[bytes], size: int) -> int:
    """Return the offset of the footer, or 0 if there is none."""
    file.seek(max(size - _TAIL, 0))
    length = int.from_bytes(file.read(4), "little")
    return max(size - _TAIL - length, 0)


def _digest(file: IO[bytes], size: int, until: int, then: int) -> bytes:
    """Return the checksum of everything except the bytes from ``until`` to ``then``."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for begin, end in ((0, until), (then, size)):
        file.seek(begin)
        left = end - begin
        while left and (chunk := file.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.digest()
