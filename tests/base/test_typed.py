"""Data from a file of ours matches its dataclass, or is refused with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from damonpolicy.base import typed


@dataclass(frozen=True, slots=True)
class Inner:
    number: int


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    share: float
    switch: bool
    word: Literal["a", "b"]
    pair: tuple[int, int]
    names: tuple[str, ...]
    inner: Inner | None
    files: Mapping[str, str]
    slots: Mapping[int, Inner]
    anything: Mapping[str, Any]
    later: int = field(default=7, metadata=typed.LATER)


GOOD = {
    "name": "n",
    "share": 1,
    "switch": True,
    "word": "a",
    "pair": [1, 2],
    "names": ["x", "y\udcff"],
    "inner": None,
    "files": {"a": "b"},
    "slots": {"3": {"number": 4}},
    "anything": {"a": [None]},
}


@dataclass(frozen=True, slots=True)
class File(typed.Kept):
    FORMAT = 3
    numbers: tuple[int, ...]
    slots: Mapping[int, Inner]


def test_what_was_written_is_read():
    assert typed.record(Outer, GOOD) == Outer(
        "n", 1.0, True, "a", (1, 2), ("x", "y\udcff"), None, {"a": "b"}, {3: Inner(4)}, {"a": [None]}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": 1}, "`name` is a int instead of a text"),
        ({"name": "a\0"}, "holds a NUL"),
        ({"name": "\ud800"}, "surrogates not allowed"),
        ({"share": "1"}, "instead of a number"),
        ({"share": True}, "instead of a number"),
        ({"share": float("nan")}, "instead of a number"),
        ({"share": float("inf")}, "instead of a number"),
        ({"switch": 1}, "instead of true or false"),
        ({"word": "c"}, "instead of `a` or `b`"),
        ({"word": ["a"]}, "instead of `a` or `b`"),
        ({"pair": [1]}, "has 1 items instead of 2"),
        ({"pair": [1, True]}, "instead of a whole number"),
        ({"pair": [1, 1 << 70]}, "more than 64 bits"),
        ({"names": "xy"}, "instead of a list"),
        ({"inner": {"number": "4"}}, "`number` of `inner`"),
        ({"inner": {"number": 4, "more": 1}}, "has the unknown key"),
        ({"inner": {}}, "has no `number`"),
        ({"files": {"a": 1}}, "instead of a text"),
        ({"files": [1]}, "instead of a mapping"),
        ({"slots": {"x": {"number": 4}}}, "is no number"),
        ({"slots": {"03": {"number": 4}}}, "is no number"),
        ({"slots": {"٣": {"number": 4}}}, "is no number"),
        ({"slots": {"3": None}}, "instead of a mapping"),
        ({"unknown": 1}, "has the unknown key"),
    ],
)
def test_anything_else_is_refused_with_its_place(changed, says):
    with pytest.raises(ValueError, match=says):
        typed.record(Outer, {**GOOD, **changed})


@pytest.mark.parametrize("key", GOOD)
def test_what_is_missing_is_named(key):
    with pytest.raises(ValueError, match=f"it has no `{key}`"):
        typed.record(Outer, {name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize("data", [None, [], 1, "x", True])
def test_what_is_no_mapping_is_refused(data):
    with pytest.raises(ValueError, match="instead of a mapping"):
        typed.record(Outer, data)


def test_a_format_is_a_number_that_we_know():
    assert typed.of_format({"format": 1}, 1) == {"format": 1}
    for data in ({"format": 2}, {"format": True}, {}, []):
        with pytest.raises(ValueError, match=r"format|mapping"):
            typed.of_format(data, 1)


def test_a_dataclass_becomes_what_is_read():
    written = typed.plain(typed.record(Outer, GOOD))

    assert written == {**GOOD, "later": 7}
    assert typed.record(Outer, written) == typed.record(Outer, GOOD)


def test_a_file_says_its_format():
    written = File((1, 2), {3: Inner(4)}).to_json()

    assert written == {"format": 3, "numbers": [1, 2], "slots": {"3": {"number": 4}}}
    assert File.from_json(written) == File((1, 2), {3: Inner(4)})
    with pytest.raises(ValueError, match="unknown format 4"):
        File.from_json({**written, "format": 4})


def test_a_file_inside_another_keeps_its_format():
    assert typed.plain({"file": File((), {})}) == {
        "file": {"format": 3, "numbers": [], "slots": {}}
    }
