"""Names out of the kernel's type information; the encoder is the emulated machine's."""

from __future__ import annotations

import os
import struct

import pytest

from damonpolicy.emulated.damon.btf import encode
from damonpolicy.kernel.damon.btf import damon_names

_THREE = struct.Struct("<III")
STRUCTS = ["damon_sysfs_attrs", "damos_quota", "damon_x", "damos_u", "damon_none"]
NAMES = ["damon_sysfs_attrs.sample", "damos_quota.bytes", "DAMOS_STAT"]
HOST = "/sys/kernel/btf/vmlinux"


def blob(types, texts):
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(texts))
    return header + types + texts


def test_every_kind_of_type_is_stepped_over():
    """Kinds with a tail of their own lie between the ones that are read."""
    texts = b"\0damon_x\0member\0DAMOS_Y\0other\0"
    name, member, word, other = (texts.index(b"\0" + t) + 1 for t in
                                 (b"damon_x", b"member", b"DAMOS_Y", b"other"))  # fmt: skip

    def kind(number, length=0, named=0):
        return _THREE.pack(named, number << 24 | length, 4)

    between = [
        kind(1) + bytes(4),  # int
        kind(2),  # pointer
        kind(3) + bytes(12),  # array
        kind(5, 1, other) + struct.pack("<III", member, 1, 0),  # a union of someone else's
        kind(6, 1) + struct.pack("<II", other, 0),  # enum
        kind(7, named=other),  # forward
        kind(8, named=other),  # typedef
        kind(9), kind(10), kind(11),  # volatile, const, restrict
        kind(12, named=other),  # function
        kind(13, 2) + bytes(16),  # prototype
        kind(14) + bytes(4),  # variable
        kind(15, 2) + bytes(24),  # data section
        kind(16),  # float
        kind(17) + bytes(4),  # declaration tag
        kind(18),  # type tag
        kind(19, 1) + struct.pack("<III", other, 0, 0),  # enum of 64 bits
    ]  # fmt: skip
    wanted = kind(4, 2, name) + struct.pack("<IIIIII", member, 1, 0, 0, 1, 64)
    wanted += kind(19, 1) + struct.pack("<III", word, 0, 0)
    for each in between:
        assert damon_names(blob(each + wanted, texts), STRUCTS) == {"damon_x.member", "DAMOS_Y"}


def test_a_number_like_a_name_is_no_struct():
    """The name's place, as a size and across two numbers, comes before the struct itself."""
    texts = b"\0" * 0x100 + b"damon_x\0member\0"
    name, member = texts.index(b"damon_x"), texts.index(b"member")
    decoys = _THREE.pack(1, 1 << 24, name) + struct.pack("<I", 32)
    decoys += _THREE.pack(name << 8 & 0xFFFFFFFF, 2 << 24, name >> 24)
    wanted = _THREE.pack(name, 4 << 24 | 1, 8) + _THREE.pack(member, 1, 0)

    assert damon_names(blob(decoys + wanted, texts), STRUCTS) == {"damon_x.member"}


def test_a_union_counts_like_a_struct():
    texts = b"\0damos_u\0m\0"
    union = _THREE.pack(1, 5 << 24 | 1, 4) + _THREE.pack(9, 1, 0)

    assert damon_names(blob(union, texts), STRUCTS) == {"damos_u.m"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "damaged"),
        (b"\x9f\xeb", "damaged"),
        (b"\xeb\x9f" + encode(NAMES)[2:], "not BTF"),
        (b"#!/bin/sh and more than a header", "not BTF"),
        (blob(_THREE.pack(0, 6 << 24 | 1, 4), b"\0")[:-2], "damaged"),
        (blob(_THREE.pack(1, 4 << 24 | 1, 4) + _THREE.pack(99, 1, 0), b"\0damon_x\0"), "damaged"),
    ],
)
def test_what_is_no_type_information(data, reason):
    with pytest.raises(ValueError, match=reason):
        damon_names(data, STRUCTS)


def test_every_cut_gives_names_or_a_value_error():
    whole = encode(NAMES)
    assert damon_names(whole, STRUCTS) == set(NAMES)
    for length in range(len(whole)):
        try:
            assert damon_names(whole[:length], STRUCTS) <= set(NAMES)
        except ValueError:
            continue


@pytest.mark.skipif(not os.access(HOST, os.R_OK), reason="this kernel shows no BTF")
def test_a_real_kernel_is_read():
    with open(HOST, "rb") as stream:
        names = damon_names(stream.read(), ["damon_sysfs_kdamonds"])

    assert all("." in name or name.startswith("DAMO") for name in names)
    assert "damon_sysfs_kdamonds.nr" in names or not names
