"""The kernel's parsing of writes to files, and its output of values.

Every reader takes the text of one write(2) and returns a value, or raises `Refusal` with
the kernel's errno. They follow lib/kstrtox.c (numbers and booleans of sysfs files and
module parameters), lib/string_helpers.c: sysfs_streq() (words) and kernel/sysctl.c
(/proc/sys); their results were compared with Linux 6.12, 6.18 and 7.3.
"""

from __future__ import annotations

import errno
import os
import re

__all__ = (
    "LONGEST",
    "Refusal",
    "boolean",
    "cpulist",
    "decimal",
    "received",
    "shown",
    "signed",
    "sysctl",
    "threads",
    "unsigned",
    "word",
)

LONGEST = 4096
"""One page: the most that a single write to a sysfs file accepts."""

_DIGITS = {
    8: re.compile(r"[0-7]*"),
    10: re.compile(r"[0-9]*"),
    16: re.compile(r"[0-9a-fA-F]*"),
}
_HEXADECIMAL = r"0[xX][0-9a-fA-F]"
_SPACES = " \t\n\v\f\r"
_TOKEN = re.compile(rf"\A[^{_SPACES}]+")
_MOST_PID = 1 << 22


class Refusal(Exception):
    """A kernel's refusal of an operation; ``args`` are an errno and a text for people."""

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(number, text)
        self.errno = number
        self.text = text

    def error(self, path: str | None = None) -> OSError:
        """Return what the writer or reader of a file gets."""
        return OSError(self.errno, self.text or os.strerror(self.errno), path)


def received(text: str) -> tuple[str, bool]:
    """Return the part of a write that reaches the kernel, and whether that is all of it.

    One page at most, and only the text before the first NUL.
    """
    if len(text) * 4 <= LONGEST and "\0" not in text:
        return text, True
    data = text.encode("utf-8", "surrogateescape")
    taken = data[:LONGEST].decode("utf-8", "surrogateescape")
    return taken.partition("\0")[0], len(data) <= LONGEST


def shown(text: str) -> str:
    """Return a value as shown by its file: sysfs_emit() leaves room for a final NUL."""
    return f"{text}\n"[: LONGEST - 1]


_MOST_DIGITS = 64
"""The most digits of a 64-bit number in any base."""


def _magnitude(text: str, base: int, overflow: int) -> int:
    """Read digits up to an optional newline (lib/kstrtox.c: _kstrtoull())."""
    if base == 0:
        base = 16 if re.match(_HEXADECIMAL, text) else 8 if text[:1] == "0" else 10
    if base == 16:
        text = text[2:]
    found = _DIGITS[base].match(text)
    digits = found[0] if found else ""
    if len(digits.lstrip("0")) > _MOST_DIGITS:
        raise Refusal(overflow)
    value = int(digits[-_MOST_DIGITS:], base) if digits else 0
    if value >= 1 << 64:
        raise Refusal(overflow)
    if not digits or text[len(digits) :] not in ("", "\n"):
        raise Refusal(errno.EINVAL)
    return value


def unsigned(text: str, bits: int = 64, *, overflow: int = errno.ERANGE, base: int = 0) -> int:
    """Read an unsigned number; the base is guessed, so that 010 is 8 and 0x10 is 16."""
    value = _magnitude(text.removeprefix("+"), base, overflow)
    if value >> bits:
        raise Refusal(overflow)
    return value


def signed(text: str, bits: int = 32, *, overflow: int = errno.ERANGE) -> int:
    """Read a signed number; the base is guessed."""
    negative = text[:1] == "-"
    value = _magnitude(text[1:] if negative else text.removeprefix("+"), 0, overflow)
    if value > (1 << (bits - 1)) - (0 if negative else 1):
        raise Refusal(overflow)
    return -value if negative else value


def decimal(text: str, bits: int = 64, *, overflow: int = errno.ERANGE) -> int:
    """Read an unsigned number of base 10, as mm/ksm.c and mm/khugepaged.c do."""
    return unsigned(text, bits, overflow=overflow, base=10)


def boolean(text: str, *, able: bool) -> bool:
    """Read a boolean by its first letters (lib/kstrtox.c: kstrtobool()).

    ``able``: this kernel accepts enable and disable as well.
    """
    first = text[:2].lower()
    if first[:1] in ("y", "t", "1") or (able and first[:1] == "e"):
        return True
    if first[:1] in ("n", "f", "0") or (able and first[:1] == "d"):
        return False
    if first in ("on", "of"):
        return first == "on"
    raise Refusal(errno.EINVAL)


def word(text: str, known: tuple[str, ...]) -> str:
    """Read one of the known words; one newline may follow (sysfs_streq())."""
    plain = text.removesuffix("\n")
    if plain not in known:
        raise Refusal(errno.EINVAL)
    return plain


def sysctl(text: str, count: int, least: int, most: int) -> tuple[list[int], bool]:
    """Read up to ``count`` numbers of a file below /proc/sys; return them, and whether that is all.

    White space may surround them. Nothing is stored if the first is not a number; text after the
    last one is a short write.
    """
    rest, found = text.lstrip(_SPACES), list[int]()
    while rest and len(found) < count:
        token = _TOKEN.findall(rest)[0]  # Python has more white space than the kernel
        try:
            negative = token[:1] == "-"
            value = _magnitude(token[negative:], 0, errno.EINVAL) * (-1 if negative else 1)
        except Refusal:
            if found:
                return found, False
            raise
        if not least <= value <= most:
            raise Refusal(errno.EINVAL)
        found.append(value)
        rest = rest[len(token) :].lstrip(_SPACES)
    if not found:
        raise Refusal(errno.EINVAL)
    return found, not rest


def cpulist(text: str, possible: int) -> set[int]:
    """Read a list of CPUs (lib/bitmap-str.c: bitmap_parselist()); ``possible`` is their number."""
    plain, cpus = text.strip(), set[int]()
    if plain == "all":
        return set(range(possible))
    for part in filter(None, plain.split(",")):
        found = re.fullmatch(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", part.strip())
        if not found or int(found[2] or found[1]) < int(found[1]):
            raise Refusal(errno.EINVAL)
        if int(found[2] or found[1]) >= possible:
            raise Refusal(errno.ERANGE)
        cpus.update(range(int(found[1]), int(found[2] or found[1]) + 1))
    return cpus


def threads(text: str) -> list[int]:
    """Read thread ids: ``1,2`` or ``1-4``, up to the first other text; none at all is ENOENT."""
    ids: list[int] = []
    for part in text.split(","):
        found = re.match(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", part)
        if not found:
            break
        if int(found[2] or found[1]) > _MOST_PID:  # include/linux/threads.h: PID_MAX_LIMIT
            raise Refusal(errno.EINVAL)
        ids += range(int(found[1]), int(found[2] or found[1]) + 1)
        if found.end() != len(part):
            break
    if not ids:
        raise Refusal(errno.ENOENT)
    return ids
