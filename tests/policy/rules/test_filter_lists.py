"""Lists of filters with an unreachable one, or with a misleading effect."""

from __future__ import annotations

import random

import pytest

from damonpolicy.policy.model.filters import Filter
from damonpolicy.policy.rules.coverage import coverage, matches_nothing
from damonpolicy.policy.rules.filter_lists import conjunction
from tests.policy.rules.test_filters import found

A, BELOW, AB = ({"memcg": path} for path in ("/a", "/a/b", "/ab"))
ONE = {"memcg": {"path": "/a", "subtree": False}}
ROOT = {"memcg": "/"}


def addr(start, end):
    return {"addr": {"start": f"{start}MiB", "end": f"{end}MiB"}}


def huge(low, high):
    return {"hugepage_size": {"min": low, "max": high}}


def no(what):
    return {"not": what}


def made(*filters):
    return [Filter.model_validate({verb: what}) for verb, what in filters]


@pytest.mark.parametrize(
    "filters",
    [
        [("allow", A), ("reject", BELOW)],
        [("allow", A), ("reject", A)],
        [("allow", A), ("reject", ONE)],
        [("reject", ROOT), ("allow", BELOW)],
        [("reject", no(ONE)), ("allow", AB)],
        [("allow", no(ONE)), ("reject", BELOW)],
        [("allow", addr(1, 9)), ("reject", addr(2, 3))],
        [("reject", addr(1, 5)), ("reject", addr(5, 9)), ("allow", addr(4, 6))],
        [("reject", no(addr(1, 5))), ("allow", addr(7, 8))],
        [("allow", huge("2MiB", "1GiB")), ("reject", huge("4MiB", "8MiB"))],
        [("allow", {"target": 0}), ("reject", "anon")],
        [("allow", "anon"), ("reject", no("anon")), ("reject", "young")],
        [("reject", "anon"), ("reject", A), ("reject", "anon")],
        [("allow", "anon"), ("reject", "anon")],
    ],
)
def test_a_filter_that_is_never_asked_is_refused(filters):
    assert "DP0258" in found(*filters)


@pytest.mark.parametrize(
    "filters",
    [
        [("reject", BELOW), ("allow", A)],
        [("allow", ONE), ("reject", A)],
        [("allow", BELOW), ("reject", A)],
        [("reject", A), ("reject", AB)],
        [("reject", addr(2, 3)), ("allow", addr(1, 9))],
        [("reject", addr(1, 5)), ("allow", addr(4, 6))],
        [("reject", no("anon")), ("allow", "anon")],
        [("reject", huge("2MiB", "4MiB")), ("allow", huge("2MiB", "8MiB"))],
        [("allow", "anon"), ("reject", {"not": "anon"})],
        [("allow", {"memcg": "/a"}), ("reject", {"not": {"memcg": "/a"}})],
    ],
)
def test_exceptions_before_the_rule_are_right(filters):
    assert found(*filters) == []


@pytest.mark.parametrize(
    "filters",
    [
        [("reject", "anon"), ("reject", no("anon"))],
        [("reject", A), ("reject", no(ONE))],
        [("reject", addr(1, 5)), ("reject", no(addr(2, 4)))],
        [("reject", {"target": 0})],
        [("allow", huge("5000B", "8000B"))],
        [("reject", huge("1KiB", "2KiB")), ("allow", "anon")],
        [("allow", no({"target": 0}))],
    ],
)
def test_what_takes_nothing_is_refused(filters):
    assert "DP0259" in found(*filters)


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ([("allow", A), ("allow", "young")], "DP0680"),
        ([("allow", A), ("allow", {"memcg": "/b"}), ("allow", "anon")], "DP0680"),
        ([("allow", addr(1, 2)), ("allow", "anon")], "DP0680"),
        ([("allow", A), ("reject", "young")], "DP0248"),
        ([("reject", "active"), ("allow", A), ("reject", no("young"))], "DP0248"),
        ([("allow", A), ("reject", {"memcg": "/b"})], "DP0681"),
        ([("allow", addr(1, 2)), ("allow", addr(3, 4)), ("reject", addr(3, 5))], "DP0681"),
    ],
)
def test_what_reads_like_and_is_warned_of(filters, code):
    assert found(*filters) == [code]


@pytest.mark.parametrize(
    ("filters", "whole"),
    [
        ([("allow", "anon"), ("allow", "young")], "[{reject: {not: anon}}, {allow: young}]"),
        ([("allow", A), ("allow", "young")], "[{reject: {not: young}}, {allow: {memcg: /a}}]"),
        ([("allow", A), ("reject", "young")], "[{reject: young}, {allow: {memcg: /a}}]"),
        (
            [("allow", A), ("allow", AB), ("reject", no("anon"))],
            "[{reject: {not: anon}}, {allow: {memcg: /a}}, {allow: {memcg: /ab}}]",
        ),
        ([("allow", "young"), ("reject", no(A))], "[{reject: {not: young}}, {allow: {memcg: /a}}]"),
        (
            [("allow", ONE), ("allow", huge("2MiB", "4MiB"))],
            (
                "[{reject: {not: {memcg: {path: /a, subtree: false}}}},"
                " {allow: {hugepage_size: {min: 2MiB, max: 4MiB}}}]"
            ),
        ),
        (
            [("allow", addr(1, 2)), ("allow", A)],
            "[{reject: {not: {addr: {start: 0x100000, end: 0x200000}}}}, {allow: {memcg: /a}}]",
        ),
        ([("allow", A), ("allow", AB), ("allow", "anon"), ("reject", "anon")], ""),
        ([("allow", addr(1, 2)), ("allow", addr(4, 5)), ("allow", "anon")], ""),
    ],
)
def test_the_hint_shows_the_whole_conjunction(filters, whole):
    assert conjunction(made(*filters)) == whole


def test_hints_for_a_conjunction_are_right_themselves():
    words = ["anon", "young", A, ONE, huge("2MiB", "4MiB"), addr(1, 2)]
    for first in words:
        for second in words:
            if (first in words[2:4] and second in words[2:4]) or first == second:
                continue
            for verb in ("allow", "reject"):
                for what in (second, no(second)):
                    whole = conjunction(made(("allow", first), (verb, what)))
                    assert whole
                    assert found(text=whole) == [], whole


KINDS = (
    ["anon", no("anon"), "young", no("young")]
    + [{"memcg": path} for path in ("/", "/a", "/a/b", "/c")]
    + [no({"memcg": {"path": path, "subtree": False}}) for path in ("/a", "/c")]
    + [{"memcg": {"path": path, "subtree": False}} for path in ("/a", "/a/b")]
    + [addr(0, 2), addr(1, 3), no(addr(0, 3)), addr(2, 4), no(addr(1, 2))]
)
PAGES = [
    (anon, young, cgroup, place)
    for anon in (False, True)
    for young in (False, True)
    for cgroup in (None, "/", "/a", "/a/b", "/a/b/x", "/a/y", "/c", "/c/z", "/d")
    for place in range(6)
]


def matches(what, page):
    """Whether a page is so, as the kernel would say it: each dimension by itself."""
    anon, young, cgroup, place = page
    if isinstance(what, dict) and "not" in what:
        return not matches(what["not"], page)
    if isinstance(what, str):
        return {"anon": anon, "young": young}[what]
    if "addr" in what:
        start, end = (int(what["addr"][name][:-3]) for name in ("start", "end"))
        return start <= place < end
    if cgroup is None:
        return False
    if isinstance(what["memcg"], dict):
        return cgroup == what["memcg"]["path"]
    return f"{cgroup}/".replace("//", "/").startswith(f"{what['memcg']}/".replace("//", "/"))


def test_filters_are_asked_exactly_where_some_page_is_left():
    """Against every page of a small world, for a thousand lists."""
    chance = random.Random(16)
    for _ in range(1000):
        filters = [
            (chance.choice(("allow", "reject")), chance.choice(KINDS))
            for _ in range(chance.randint(1, 6))
        ]
        left = list(PAGES)
        results = list(coverage(made(*filters), physical=True))
        for (_, what), one, each in zip(filters, made(*filters), results, strict=True):
            mine = [page for page in left if matches(what, page)]
            left = [page for page in left if not matches(what, page)]
            assert matches_nothing(one, physical=True) is False
            assert (each.covered, each.rest) == (not mine, bool(left)), (filters, each)
