"""Hints show values as they are written, and levels where keys belong, whatever was given."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from damonpolicy.base import units
from damonpolicy.base.units import UnitError
from damonpolicy.policy.model.scalars import correction, read_age, read_rate
from damonpolicy.policy.reading import forms, hints, levels
from damonpolicy.policy.source.characters import ascii_like, unquote

K = ("kdamonds", 0)
S = (*K, "schemes", 0)
P = (*S, "access_pattern")
PLACES = [
    (*P, "size"), (*P, "age"), (*P, "access_rate"), (*K, "region_count"), (*K, "intervals"),
    (*K, "targets"), (*K, "targets", 0), (*S, "filters"), (*S, "filters", 0), (*S, "quota"),
    (*S, "filters", 0, "reject"), (*S, "filters", 0, "reject", "memcg"), (*K, "accesses"),
    (*S, "when"), ("modules", "damon_stat"), (*K, "targets", 0, "regions"), ("kdamonds",),
    (*K, "accesses", "cpus"), ("vars",),
]  # fmt: skip
WORDS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["5ms", "1-5%", "64MB/s", "reject not anon", ">= 2m", "10..20", "4GiB-8GiB", "on"]
    ),
)
VALUES = st.recursive(
    WORDS, lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(WORDS, part, max_size=3)),
    max_leaves=5,
)  # fmt: skip


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
@settings(max_examples=25)
@given(value=VALUES)
def test_whatever_stands_there_the_hint_is_a_sentence(path, value):
    told = forms.form(path, value)

    assert isinstance(told, str)
    assert len(told) < 300


@pytest.mark.parametrize(
    ("key", "read"),
    [("size", units.read_bytes), ("age", read_age), ("access_rate", read_rate)],
)
@settings(max_examples=60)
@given(
    low=st.integers(0, 99), high=st.integers(100, 999), unit=st.sampled_from(["ms", "MiB", "%", "GB"]),
    form=st.sampled_from(["{low}{unit}", "{low}{unit}-{high}{unit}", "> {low}{unit}", "<={low} {unit}",
                          "{low}-{high}{unit}", "{low}{unit} to {high}{unit}"]),
)  # fmt: skip
def test_bounds_that_are_shown_can_be_read(key, read, low, high, unit, form):
    told = forms.form((*P, key), form.format(low=low, high=high, unit=unit))

    literal = re.search(r"`(.*)`", told)[1]
    for end in yaml.load(literal, yaml.BaseLoader)[key].values():
        read(end)


@settings(max_examples=100)
@given(text=st.text(alphabet="0123456789.,-<>kKmMsihdB%xae \u00a0\u2013“”", max_size=12))
def test_what_is_offered_is_taken(text):
    for read in (units.read_bytes, units.read_duration, units.read_percent, units.read_count):
        if meant := correction(text, read):
            read(meant)
            with pytest.raises(UnitError):
                read("")


def test_flows_are_read_back_as_they_were():
    for value in ("a b", "it's", "a, b", "{x}", "5%", "a: b", "", "#", "/a/*.scope"):
        text = forms.flow({"k": value})
        assert yaml.load(text, yaml.BaseLoader) == {"k": value}


def test_what_is_too_long_is_not_shown():
    assert forms.flow("x" * 61) == ""
    assert forms.flow({"a": "x" * 61}) == ""
    assert forms.flow(["a", {"b": object()}]) == ""


def test_characters_that_look_alike():
    assert unquote("“a b”") == "a b"
    assert unquote("“a” and “b”") == ""
    assert ascii_like("ops：\u00a0paddr") == "ops: paddr"
    assert ascii_like("0–3") == "0-3"


def all_levels():
    """Each level with a path to it, and the keys that it knows."""
    yield from (((), K, S, (*K, "targets", 0), P, (*S, "quota"), (*K, "intervals")))


@pytest.mark.parametrize("level", list(all_levels()), ids=lambda path: ".".join(map(str, path)))
def test_a_known_key_at_the_wrong_level_names_its_level(level):
    here = set(levels.keys_at(level))
    everywhere = {key for path in all_levels() for key in levels.keys_at(path)} - here

    for key in everywhere:
        told = hints.unknown_key((*level, key), "1", here)
        assert told
        assert not told.startswith("one of")
        assert re.match(r"(write|it belongs|did you mean|it is) ?", told), (key, told)
