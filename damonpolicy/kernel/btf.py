"""Names in the kernel's own type information, ``/sys/kernel/btf/vmlinux``.

The format is documented in Documentation/bpf/btf.rst. Reading it answers what a kernel
can do without touching DAMON's tree: members of DAMON's sysfs structs are its files, and
enumerators are its words.
"""

from __future__ import annotations

import struct

__all__ = ("damon_names",)

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_INT, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 3, 4, 5, 6
_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = 13, 14, 15, 17, 19
_TAIL = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_ITEM = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _PROTO: 8, _DATASEC: 12, _ENUM64: 12}


def damon_names(data: bytes) -> frozenset[str]:
    """Return DAMON's names: ``struct.member`` for its structs, and its enumerators.

    Raises ValueError where ``data`` is not BTF of a little-endian kernel.
    """
    message = "this is not BTF"
    try:
        if _HEADER.unpack_from(data)[0] == _MAGIC:
            return _names(data)
    except (struct.error, IndexError, ValueError) as error:
        message = "the type information is damaged"
        raise ValueError(message) from error
    raise ValueError(message)


def _names(data: bytes) -> frozenset[str]:
    _, _, _, header, type_at, type_length, text_at, text_length = _HEADER.unpack_from(data)
    types = data[header + type_at : header + type_at + type_length]
    texts = data[header + text_at : header + text_at + text_length]

    def text(offset: int) -> str:
        return texts[offset : texts.index(b"\0", offset)].decode()

    names: set[str] = set()
    position = 0
    while position < len(types):
        name, info, _ = _TYPE.unpack_from(types, position)
        position += _TYPE.size
        kind, length = (info >> 24) & 31, info & 0xFFFF
        item = _ITEM.get(kind, 0)
        if kind in (_STRUCT, _UNION) and name and texts[name : name + 4] == b"damo":
            prefix = text(name)
            for index in range(length):
                member = int.from_bytes(types[position + item * index :][:4], "little")
                if member:
                    names.add(f"{prefix}.{text(member)}")
        elif kind in (_ENUM, _ENUM64):
            for index in range(length):
                at = position + item * index
                word = int.from_bytes(types[at : at + 4], "little")
                if texts[word : word + 4] == b"DAMO":
                    names.add(text(word))
        position += item * length + _TAIL.get(kind, 0)
    return frozenset(names)
