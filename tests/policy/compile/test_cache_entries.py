"""Entries of the cache: bad ones count as none, and hindrances as no cache."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace

import pytest

from damonpolicy.policy.compile import cache
from tests.policy.compile.kept import plain


def sealed(path, text):
    """Write an entry that nobody has damaged."""
    path.write_bytes(cache._digest((path.stem, text)).encode() + b"\n" + text)


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edited(change):
    """Change an entry, and seal it again."""

    def apply(path):
        data = json.loads(path.read_bytes().partition(b"\n")[2])
        change(data)
        sealed(path, json.dumps(data).encode())

    return apply


def linked(path):
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def replaced(make):
    def apply(path):
        path.unlink()
        make(path)

    return apply


def renamed(path):
    """Take the entry of another policy, whole as it is."""
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"k"', b'"x"'))


BROKEN = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a bit": flipped,
    "no digest": lambda path: path.write_bytes(b"\xff\n{}"),
    "no JSON": lambda path: sealed(path, b"{"),
    "a list": lambda path: sealed(path, b"[]"),
    "a pickle": lambda path: sealed(path, b"\x80\x04N."),
    "deep": lambda path: sealed(path, b"[" * 100_000),
    "huge": lambda path: path.write_bytes(path.read_bytes() + b" " * (3 << 20)),
    "a number": edited(lambda data: data.update(asked=1)),
    "a key more": edited(lambda data: data.update(more=1)),
    "a key less": edited(lambda data: data.pop("found")),
    "a NUL": edited(lambda data: data["files"].update(p="\0")),
    "an unknown file": edited(lambda data: data["files"].update(p="q.yaml")),
    "no file": edited(lambda data: data["files"].clear()),
    "another name": edited(lambda data: data["policies"]["p"].update(name="q")),
    "no operation set": edited(lambda data: data["policies"]["p"]["kdamonds"][0].update(files={})),
    "a write": edited(lambda data: data["asked"].insert(0, ["write", "/sys/kernel/mm/ksm/run"])),
    "another question": edited(
        lambda data: data["asked"].insert(0, ["scan", "/sys/kernel/mm/ksm"])
    ),
    "another entry": renamed,
    "a directory": replaced(lambda path: path.mkdir()),
    "a pipe": replaced(os.mkfifo),
    "a link": linked,
    "others' to write": lambda path: path.chmod(0o606),
    "a group's to write": lambda path: path.chmod(0o660),
    "others' to add to": lambda path: path.parent.chmod(0o757),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_bad_entry_counts_as_none(kept, what):
    kept.recall()
    BROKEN[what](kept.entry)
    log = len(kept.machine.log)
    kept.recall()

    assert kept.compiled == 2
    assert len(kept.machine.log) == log
    kept.recall()
    mended = what not in ("a directory", "a pipe", "others' to add to")
    assert kept.compiled == (2 if mended else 3)


@pytest.mark.parametrize("what", ["entry", "directory", "home"])
def test_what_somebody_else_owns_is_not_read(kept, give, what):
    kept.recall()
    give({"entry": kept.entry, "directory": kept.directory, "home": kept.directory.parent}[what],
         65533)  # fmt: skip
    kept.recall()

    assert kept.compiled == 2


def test_a_link_to_a_directory_is_followed_where_only_we_could_make_it(kept, tmp_path):
    kept.recall()
    kept.directory.rename(tmp_path / "elsewhere")
    kept.directory.symlink_to(tmp_path / "elsewhere")
    kept.recall()

    assert kept.compiled == 1
    (tmp_path / "elsewhere").chmod(0o777)
    kept.recall()
    assert kept.compiled == 2


def test_root_makes_nothing_in_another_users_home(kept, give, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    give(home, 65533)
    kept.directory = home / "cache/damonpolicy"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    kept.recall()

    assert [*home.iterdir()] == []


def test_root_takes_no_group_for_its_own(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not cache._keepers().group
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cache._keepers().group, "many systems give every user a group of its own"


def unwritable(kept, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cache, "whole_file", refuse)


def no_directory(kept, monkeypatch):
    kept.directory.parent.write_text("a file")


def off(kept, monkeypatch):
    monkeypatch.setenv(cache.OFF, "1")


def relative(kept, monkeypatch):
    monkeypatch.chdir(kept.directory.parents[1])
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")


def packed(kept, monkeypatch):
    """The package lies in an archive, whose files cannot be looked at."""
    monkeypatch.setattr("damonpolicy.__file__", "/nowhere/archive.zip/damonpolicy/__init__.py")


def too_large(kept, monkeypatch):
    monkeypatch.setattr(cache, "_SIZE", 1000)


def too_many(kept, monkeypatch):
    monkeypatch.setattr(cache, "_READS", 3)


@pytest.mark.parametrize(
    "hinder", [unwritable, no_directory, off, relative, packed, too_large, too_many]
)
def test_without_a_place_everything_is_compiled(kept, monkeypatch, hinder):
    hinder(kept, monkeypatch)
    kept.recall()
    kept.recall()

    assert kept.compiled == 2
    assert kept.entries == []


def test_a_home_is_found_without_the_variable(kept, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kept.recall()

    assert len([*(tmp_path / "home/.cache/damonpolicy").iterdir()]) == 1


def test_entries_are_private(kept, umask):
    kept.recall()

    assert kept.entry.stat().st_mode & 0o777 == 0o600
    assert kept.directory.stat().st_mode & 0o777 == 0o700
    assert kept.directory.parent.stat().st_mode & 0o777 == 0o700


def test_the_oldest_entries_go(kept):
    kept.recall()
    mine = kept.entry
    left = kept.directory / f".{'a' * 64}.json.4711.part"
    left.touch()
    for path in (left, mine):
        os.utime(path, ns=(1, 1))
    others = kept.directory / "notes.json"
    others.write_text("somebody else's")
    for number in range(cache._ENTRIES):
        kept.given = replace(kept.given, settings=(f"age={number + 1}m",))
        cache.recalled(kept.given, kept.machine, kept.capabilities)

    assert len(kept.entries) == cache._ENTRIES + 1
    assert others.exists()
    assert not mine.exists()
    assert not left.exists()


def test_without_a_machine_and_without_a_kernel(kept):
    for capabilities in (None, kept.capabilities):
        found = [cache.recalled(kept.given, None, capabilities) for _ in range(2)]
        assert plain(found[0]) == found[1]
        assert found[1].names == ("p",)

    assert kept.compiled == 2
