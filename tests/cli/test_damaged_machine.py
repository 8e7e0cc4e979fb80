"""A damaged machine.json is named, and left unchanged."""

from __future__ import annotations

import hashlib
import json

import pytest

from damonpolicy.base.errors import ExitCode


def sealed(state):
    """Return a file with a right checksum: it holds what somebody meant it to hold."""
    text = state if isinstance(state, bytes) else json.dumps(state).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


DAMAGES = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "flipped": lambda whole: whole[:500] + bytes([whole[500] ^ 4]) + whole[501:],
    "flipped-checksum": lambda whole: bytes([whole[0] ^ 1]) + whole[1:],
    "longer": lambda whole: whole + b" ",
    "list": lambda whole: b"[]",
    "no-text": lambda whole: b"\xff\xfe\0",
    "deep": lambda whole: b"[" * 200_000,
    "sealed-nothing": lambda whole: sealed(b""),
    "sealed-cut": lambda whole: sealed(b'{"half'),
    "sealed-list": lambda whole: sealed([]),
    "sealed-mapping": lambda whole: sealed({}),
    "sealed-no-text": lambda whole: sealed(b'{"a": "\xff"}'),
    "sealed-deep": lambda whole: sealed(b"[" * 200_000),
}
TOP = ("boots", "boot_id", "booted", "clock", "lead", "pid", "poison", "processes", "cgroups",
       "cgroup", "settings", "modules", "tree", "slots", "name", "identity")  # fmt: skip


@pytest.fixture
def file(site):
    site.done("apply", site.setting("p", 1))
    path = site.directory / "machine/machine.json"
    whole = path.read_bytes()
    yield path
    path.write_bytes(whole)


def assert_named(site, file, data):
    file.write_bytes(data)
    for words in (["status"], ["apply", site.setting("q", 1)], ["recover"], ["stop", "--all"]):
        done = site.run(*words)
        assert done.code == ExitCode.USAGE, words
        assert f"`{file}` is damaged" in done.err, words
        assert f"remove `{file.parent}`" in done.err, words
    assert file.read_bytes() == data


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_named(site, file, damage):
    assert_named(site, file, DAMAGES[damage](file.read_bytes()))


@pytest.mark.parametrize("key", [*TOP, "log"])
def test_another_shape_is_named(site, file, key):
    state = json.loads(file.read_bytes().partition(b"\n")[2])
    other = "7" if isinstance(state[key], int | float) else 7

    assert_named(site, file, sealed({**state, key: other}))
    if key in TOP:
        assert_named(site, file, sealed({name: state[name] for name in state if name != key}))


def test_all_of_it_is_known(file):
    assert json.loads(file.read_bytes().partition(b"\n")[2]).keys() == {*TOP, "log"}


@pytest.mark.parametrize("identity", [{}, {"format": 3}, {"format": "x", "version": []}])
def test_another_identity_is_another_machine(site, file, identity):
    state = json.loads(file.read_bytes().partition(b"\n")[2])
    file.write_bytes(sealed({**state, "identity": identity}))
    done = site.run("status")

    assert done.code == ExitCode.USAGE
    assert f"`{file.parent}` holds an emulated machine" in done.err
