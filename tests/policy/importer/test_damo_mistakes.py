"""Mistakes in damo's files, each told where it stands."""

from __future__ import annotations

import copy
import json

import pytest
import yaml

from damonpolicy.policy.importer.policy import policy
from damonpolicy.policy.source.yaml import parse_foreign
from tests.policy.importer.foreign import EVERYTHING, FILES, SCHEME, errors, read


@pytest.mark.parametrize(
    "data",
    [
        "[1, 2]", "{}", '{"kdamonds": {}}', "null", '"text"', '[{"contexts": []}]',
        '[{"contexts": [{}, {}]}]', '[{"contexts": [1]}]',
        '[{"contexts": [{"intervals": {"sample_us": "5 parsecs"}}]}]',
        '[{"contexts": [{"intervals": {"sample_us": "soon"}}]}]',
        '[{"contexts": [{"nr_regions": {"min": "-3"}}]}]',
        '[{"contexts": [{"schemes": {"a": 1}}]}]',
        '[{"contexts": [{"schemes": [{"filters": [{"hugepage_size": ["x", "y"]}]}]}]}]',
    ],
)  # fmt: skip
def test_what_damo_would_not_have_written(data):
    _, found = read(data)

    assert found
    assert {each.code for each in found} == {"DP0621"}
    assert all(each.span for each in found)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("acces_pattern: {}", "`acces_pattern` is not a key", "did you mean `access_pattern`?"),
        ("colour: {}", "`colour` is not a key of damo here", "one of `access_pattern`, `action`"),
        ("quotas: {sz_bytes: 5 m}", "a unit that damo does not know", "it knows `B` `K` `KB`"),
        ("quotas: {sz_bytes: 50 %}", "a unit that damo does not know here", "it knows"),
        ("quotas: {reset_interval_ms: 1 M}", "a unit", "it knows `ns` `us` `ms` `s` `m` `h` `d`"),
        ("access_pattern: {age: {min: 2 M}}", "a unit", "`d` `aggr_intervals`"),
        ("filters: [{filter_type: anon, matching: flase}]", "neither true nor false", "`true`"),
        ("filters: {}", "`filters` is a list", ""),
        ("quotas: 0", "a mapping is expected", ""),
        ("quotas: {sz_bytes: [1]}", "`sz_bytes` is a single value", ""),
        ("apply_interval_us: %s" % ("9" * 5000), "is not a number that damo reads", ""),
        ("apply_interval_us: ٣", "is not a number that damo reads", ""),
        ("filters: [{filter_type: hugepage_size, hugepage_size: [1]}]", "has two ends", ""),
    ],
)  # fmt: skip
def test_nothing_is_read_otherwise_than_it_is_written(text, message, hint):
    """What damo does not know, or reads as something else, would be a limit less."""
    _, found = read(SCHEME % text)

    assert len(found) == 1
    assert message in found[0].message
    assert hint in found[0].hint
    assert found[0].span.line == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [("a: [1\nb: }", "DP0004"), ("!!python/object:os.system x", "DP0009"), ("[" * 20_000, "DP0013"),
     ("a: &a [1]\nb: *a", "DP0007"), ("kdamonds: !!timestamp foo", "DP0009"),
     ("kdamonds: []\nkdamonds: []", "DP0006"), ("kdamonds: [null]", "DP0105")],
)  # fmt: skip
def test_text_that_is_no_plain_data(text, code):
    _, found = parse_foreign("f", text)

    assert found[0].code == code
    assert found[0].span.file == "f"


def leaves(value, path=()):
    """Yield the paths of everything in plain data, from the inside out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        if isinstance(each, (dict, list)):
            yield from leaves(each, (*path, key))
        yield (*path, key)


JUNK = (None, "", "abc", "-1", -1, 1e99, "99999999999999999999999", [], {}, [1], "4 %", True, "a\nb",
        "\0", "{{ x }}", "max")  # fmt: skip


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_a_spoilt_file_is_refused_or_read(junk):
    """Whatever stands somewhere: never a traceback, and a policy only where it is one."""
    data = yaml.safe_load((FILES / "tiering.yaml").read_text())
    for path in list(leaves(data)):
        spoilt = copy.deepcopy(data)
        here = spoilt
        for key in path[:-1]:
            here = here[key]
        here[path[-1]] = junk
        made, found = read(json.dumps(spoilt))
        if any(each.severity == "error" for each in found):
            continue
        became = policy(made, "p", EVERYTHING, None)
        refused = [each for each in became.found if each.severity == "error"]
        assert refused or became.text.startswith("version: 1\n"), path
        assert {each.span.file for each in refused} <= {"f.yaml"}, (path, refused)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            [{"action": "pageout", "access_pattern": {}}, {"contexts": [{}]}],
            "this is a scheme, not a kdamond",
        ),
        ([{"contexts": [{}, {"ops": "paddr"}]}], "this kdamond has 2 contexts"),
    ],
)
def test_one_mistake_is_told_once(data, message):
    _, found = read(json.dumps(data))

    assert [each.message.startswith(message) for each in found] == [True]


WHOLE = """\
kdamonds:
- contexts:
  - ops: paddr
    targets:
    - regions:
      - {start: 4096, end: 8192}
    nr_regions:
      min: '1'
      max: '1000'
    intervals:
      sample_us: 200 ms
      aggr_us: 100 ms
    schemes:
    - action: willneed
      access_pattern:
        sz_bytes:
          min: 2 M
          max: 1 M
      quotas:
        reset_interval_ms: 1 s
        goals:
        - metric: node_mem_used_bp
          target_value: 0
      watermarks:
        metric: free_mem_rate
        interval_us: 5 s
        high_permil: 10 %
        mid_permil: 40 %
        low_permil: 20 %
      core_filters:
      - filter_type: target
        damon_target_idx: 7
        allow: true
      ops_filters:
      - filter_type: hugepage_size
        hugepage_size: {min: 2 M, max: 1 M}
"""


def test_mistakes_of_the_policy_are_told_in_damos_file():
    made, found = read(WHOLE)
    assert not errors(found)
    became = policy(made, "p", EVERYTHING, None)
    lines = {(each.code, each.span.line) for each in became.found}

    assert {each.span.file for each in became.found} == {"f.yaml"}
    assert lines >= {
        ("DP0202", 8), ("DP0203", 11), ("DP0212", 14), ("DP0201", 17), ("DP0211", 23),
        ("DP0206", 28), ("DP0235", 32), ("DP0201", 36),
    }  # fmt: skip
    assert "region_count: {min: 1, max: 1000}" in became.text


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("metric: node_mem_used_bp", "metric: node_mem_usd_bp", 22),
        ("metric: free_mem_rate", "metric: free_mem", 25),
        ("filter_type: target", "filter_type: young", 31),
        ("filter_type: hugepage_size", "filter_type: pgidle_set", 35),
        ("reset_interval_ms: 1 s", "goal_tuner: constant", 20),
        ("action: willneed", "action: wilneed", 14),
        ("ops: paddr", "ops: padr", 3),
        ("nr_regions:", "probes: [{preps: [{prep_action: set_idle}]}]\n    nr_regions:", 7),
        ("nr_regions:", "probes: [{filters: [{filter_type: young}]}]\n    nr_regions:", 7),
        ("nr_regions:", "sample_control: {sample_filters: [{filter_type: tid}]}\n    nr_regions:", 7),
    ],
)  # fmt: skip
def test_words_are_checked_where_they_stand(old, new, line):
    _, found = read(WHOLE.replace(old, new))

    found = errors(found)
    assert [(each.code, each.span.line) for each in found] == [("DP0621", line)]
    assert "no kernel knows `" in found[0].message
    assert found[0].hint


def test_a_difference_is_told_in_damos_file():
    text = WHOLE[: WHOLE.index("    nr_regions")].replace("- regions", "- pid: 5\n      regions")
    made, _ = read(
        text + "    schemes:\n    - action: stat\n      quotas: {sz_bytes: 0, fail_charge_num: 3}\n"
    )
    became = policy(made, "p", EVERYTHING, None)

    assert [(each.code, each.span.line, each.hint) for each in became.found] == [
        ("DP0620", 10, "the quota limits nothing"),
        ("DP0620", 5, "the kernel ignores it on `paddr`"),
    ]
