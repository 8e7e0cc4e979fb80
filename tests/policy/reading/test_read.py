"""Errors of data at their places, however much else is wrong."""

from __future__ import annotations

import re

import pytest

from damonpolicy.policy.model.scalars import Unread
from damonpolicy.policy.reading.read import read_policy
from damonpolicy.policy.source.nodes import plain
from damonpolicy.policy.source.yaml import parse

HEAD = "version: 1\nname: p\n"


def read(text):
    top, found = parse("p.yaml", text)
    assert not found
    return read_policy(*plain(top))


def places(found):
    return [(each.code, each.span.line, each.span.column) for each in found]


def test_what_is_wrong_is_a_hole_and_the_rest_is_read():
    result, found = read(
        HEAD
        + """\
kdamonds:
  - {name: "", ops: paddr}
  - {name: b, ops: paddr, refresh: 5}
  - {name: c, ops: physical}
  - {name: d, ops: vaddr}
"""
    )

    assert places(found) == [("DP0120", 4, 12), ("DP0121", 5, 36), ("DP0104", 6, 20)]
    kdamonds = result.policy.kdamonds
    assert [each.known("name") for each in kdamonds] == [None, "b", "c", "d"]
    assert [each.known("ops") for each in kdamonds] == ["paddr", "paddr", None, "vaddr"]
    with pytest.raises(Unread, match="ops"):
        assert kdamonds[2].ops
    assert ("ops" in kdamonds[2].model_fields_set, kdamonds[1].known("refresh")) == (True, None)
    assert result.cursor("kdamonds", 3).lost is False
    assert result.cursor("kdamonds", 2).lost is True
    assert result.cursor("kdamonds").lost is True


def test_places_stay_right_below_lists_that_were_cut_twice():
    result, found = read(
        HEAD
        + """\
kdamonds:
  - nothing
  - name: b
    ops: paddr
    schemes:
      - nothing
      - {name: t, action: stat, filters: [nobody, {allow: anon}]}
      - nothing
      - {name: v, action: stat}
"""
    )

    assert [each[0] for each in places(found)] == ["DP0103", "DP0103", "DP0103", "DP0103"]
    kdamond = result.policy.kdamonds[0]
    assert [each.name for each in kdamond.schemes] == ["t", "v"]
    where = result.cursor("kdamonds", 0, "schemes")
    assert [where(number, "name").value.line for number in (0, 1)] == [9, 11]
    assert where(0, "filters", 0, "allow").value.column == 59
    assert (where(0, "filters").lost, where(1).lost) == (True, False)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("kdamonds: {}\n", ("DP0103", "`kdamonds` takes a list")),
        ("kdamonds: [5]\n", ("DP0103", "a mapping is expected here")),
        ("description: [a]\n", ("DP0103", "a single value is expected here, not a list")),
        ("kdamonds: [{name: k, ops: {a: 1}}]\n", ("DP0103", "a single word is expected here, not a mapping")),
        ("kdamonds: [{name: k, ops: [a]}]\n", ("DP0103", "a single word is expected here, not a list")),
        ("kdamonds: [{name: k, ops: paddr, intervals: 5s}]\n", ("DP0103", "`intervals` takes a mapping")),
        ("kdamonds: [{ops: paddr}]\n", ("DP0102", "`name` is missing")),
        ("kdamonds: [{name: k, ops: paddr, intervals: {auto_tune: {observe: 4%, aggregations: 3, min_sample: 1ms}}}]\n", ("DP0102", "`max_sample` of `auto_tune` is missing")),
        ("schemes: []\n", ("DP0101", "unknown key `schemes`")),
    ],
)  # fmt: skip
def test_shapes(body, expected):
    _, found = read(HEAD + body)

    assert [(each.code, each.message) for each in found] == [expected]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("reclaim", "pageout"), ("promote", "migrate_hot"), ("merge", "stat"), ("thp", "hugepage")],
)
def test_words_of_other_tools_are_understood(word, meant):
    _, found = read(
        HEAD + f"kdamonds: [{{name: k, ops: paddr, schemes: [{{name: s, action: {word}}}]}}]\n"
    )

    assert [each.hint for each in found] == [f"did you mean `{meant}`?"]


def in_scheme(part):
    return f"kdamonds: [{{name: k, ops: paddr, schemes: [{{name: s, action: stat, {part}}}]}}]\n"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{type: anon, matching: Y, allow: N}", "write `{reject: anon}`"),
        ("{type: anon, matching: Y}", "write `{reject: anon}`"),
        ("{type: young, matching: N, allow: Y}", "write `{allow: {not: young}}`"),
        ("{type: memcg, memcg_path: /a b, matching: y}", "write `{reject: {memcg: '/a b'}}`"),
        ("{type: target, damon_target_idx: 1, matching: true}", "write `{reject: {target: 1}}`"),
        (
            "{type: addr, addr_start: 0, addr_end: 4096, matching: 1, allow: 1}",
            "write `{allow: {addr: {start: 0, end: 4096}}}`",
        ),
        ("{type: anon}", "write for example `{reject: anon}`, or `{reject: {not: anon}}`"),
        (
            "{type: addr, matching: Y}",
            "write for example `{reject: anon}`, or `{reject: {not: anon}}`",
        ),
    ],
)
def test_filters_of_the_kernel_are_one_mistake(text, hint):
    result, found = read(HEAD + in_scheme(f"filters: [{{reject: anon}}, {text}, {{allow: young}}]"))

    assert [(each.code, each.hint) for each in found] == [("DP0103", hint)]
    (kdamond,) = result.policy.kdamonds
    assert [each.type for each in kdamond.schemes[0].filters] == ["anon", "young"]
    written = next(iter(re.findall(r"`([^`]+)`", hint)))
    assert read(HEAD + in_scheme(f"filters: [{written}]"))[1] == []


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("pid: 530", "write `{process: {pid: 530}}`"),
        ("pid_target: 530", "write `{process: {pid: 530}}`"),
        ("name: nginx", "write `{process: {name: nginx}}`"),
        ("cmdline: a b", "write `{process: {cmdline: 'a b'}}`"),
        ("process: nginx", "write `{name: nginx}`"),
        ("process: 530", "write `{pid: 530}`"),
        ("process: /usr/sbin/nginx", "write `{exe: /usr/sbin/nginx}`"),
    ],
)
def test_processes_are_shown_as_they_are_written(target, hint):
    _, found = read(HEAD + f"kdamonds: [{{name: k, ops: vaddr, targets: [{{{target}}}]}}]\n")

    assert [each.hint for each in found] == [hint]


@pytest.mark.parametrize(
    ("part", "message", "hint"),
    [
        (
            "watermarks: {low: 20%}",
            "`metric`, `every`, `high` and `mid` of `watermarks` are missing",
            "write for example `watermarks: {metric: free_mem_rate, every: 5s, high: 50%, mid: 40%, low: 20%}`",
        ),
        (
            "watermarks: {every: 5s, high: 50%, mid: 40%, low: 20%}",
            "`metric` of `watermarks` is missing",
            "add `metric: free_mem_rate`",
        ),
        (
            "quota: {size: 1MiB, every: 1s, goals: [{node: 0}]}",
            "`metric` and `target` are missing",
            "add `metric: some_mem_psi_us` and `target: 10ms`",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_at_one_place_is_one_mistake(part, message, hint):
    _, found = read(HEAD + in_scheme(part))

    assert [(each.message, each.hint) for each in found] == [(message, hint)]


def test_examples_can_be_followed():
    tune = "{observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}"
    _, found = read(
        HEAD + "kdamonds: [{name: k, ops: paddr, intervals: {auto_tune: {observe: 4%}}}]\n"
    )

    assert [each.hint for each in found] == [f"write for example `auto_tune: {tune}`"]
    for example in (
        in_scheme("watermarks: {metric: free_mem_rate, every: 5s, high: 50%, mid: 40%, low: 20%}"),
        f"kdamonds: [{{name: k, ops: paddr, intervals: {{auto_tune: {tune}}}}}]\n",
    ):
        assert read(HEAD + example)[1] == []


def test_the_rest_is_read_without_a_name():
    result, found = read("version: 1\nsettings: {/x: 1}\n")

    assert result.policy.settings == {"/x": "1"}
    with pytest.raises(Unread):
        assert result.policy.name
    assert "name" not in result.policy.model_fields_set
    assert [each.message for each in found] == ["`name` is missing"]
