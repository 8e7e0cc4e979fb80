"""Type information of emulated kernels, in the part that `kernel.damon.btf` reads.

The format is documented in Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache

from damonpolicy.emulated.profiles import Profile
from damonpolicy.kernel.damon.features import EMULATED, FEATURES, WORDS

__all__ = ("encode", "of")

_INT, _STRUCT, _ENUM = 1, 4, 6
_HEADER = struct.Struct("<HBBIIIII")
_THREE = struct.Struct("<III")


@cache
def of(profile: Profile) -> bytes:
    """Return the content of ``/sys/kernel/btf/vmlinux``: the names of the kernel's features.

    They were read from real kernels (tests/kernel/damon/test_observed_names.py).
    """
    there = [each.symbol for each in FEATURES if profile.has(each.name)]
    return encode([EMULATED, *WORDS.values(), *there])


def encode(names: Iterable[str]) -> bytes:
    """Encode ``struct.member`` names as structs, and all others as enumerators of one enum."""
    structs: dict[str, list[str]] = {"list_head": ["next", "prev"]}
    words = []
    for name in sorted(set(names)):
        owner, dot, member = name.partition(".")
        if dot and owner != EMULATED:
            structs.setdefault(owner, []).append(member)
        else:
            words.append(name)
    texts, types = bytearray(b"\0"), bytearray()

    def text(name: str) -> int:
        offset = len(texts)
        texts.extend(name.encode() + b"\0")
        return offset

    types += _THREE.pack(text("int"), _INT << 24, 4) + struct.pack("<I", 32)
    for owner, members in structs.items():
        types += _THREE.pack(text(owner), (_STRUCT << 24) | len(members), 8 * len(members))
        for index, member in enumerate(members):
            types += _THREE.pack(text(member), 1, index * 64)
    types += _THREE.pack(0, (_ENUM << 24) | len(words), 4)
    for index, each in enumerate(words):
        types += struct.pack("<II", text(each), index)
    header = _HEADER.pack(0xEB9F, 1, 0, _HEADER.size, 0, len(types), len(types), len(texts))
    return header + bytes(types) + bytes(texts)
