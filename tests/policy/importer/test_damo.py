"""damo's own files, and the policies that they become."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from damonpolicy.kernel.damon.capabilities import Answer, Capabilities
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.policy.importer.damo import sources
from damonpolicy.policy.importer.policy import policy
from damonpolicy.policy.source.yaml import parse_foreign

FILES = Path(__file__).parent / "damo"
EVERYTHING = Capabilities({each.name: Answer("yes", "assumed") for each in FEATURES})

TIERING = """\
version: 1
name: tiering
kdamonds:
- name: kdamond-0
  ops: paddr
  targets:
  - regions:
    - {start: 0x100000000, end: 0x140000000}
  intervals:
    sample: 5ms
    aggregation: 100ms
    update: 1s
    auto_tune: {observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}
  probes:
  - name: probe-0
    filters:
    - {allow: anon}
  schemes:
  - name: migrate_hot
    action: migrate_hot
    to: 0
    access_pattern:
      access_rate: {min: 5%}
    apply_every: 1s
    quota:
      size: 200MiB
      every: 1s
      tuner: temporal
      goals:
      - {metric: node_mem_used_bp, target: 99.5%, node: 0}
    filters:
    - allow: {not: young}
    watermarks: {metric: free_mem_rate, every: 5s, high: 50%, mid: 40%, low: 20%}
"""

OLD = """\
version: 1
name: old
kdamonds:
- name: kdamond-0
  ops: vaddr
  targets:
  - process: {pid: 811}
  intervals: {update: 1s}
  schemes:
  - name: stat
    action: stat
    access_pattern:
      size: {min: 4KiB}
      access_rate: {max: 0%}
      age: {min: 1m30s}
    filters:
    - reject:
        addr: {start: 0x1000, end: 0x100000}
    - allow:
        not:
          memcg: {path: /a, subtree: false}
"""


def read(text, name="f.yaml"):
    """Return what a file becomes, and everything that is wrong with it."""
    top, found = parse_foreign(name, text)
    if found:
        return [], found
    return sources(top, name)


def errors(found):
    return [each for each in found if each.severity == "error"]


def imported(text, name):
    made, found = read(text, f"{name}.yaml")
    assert not found
    return policy(made, name, EVERYTHING, None)


@pytest.mark.parametrize(
    ("file", "expected", "told"), [("tiering.yaml", TIERING, ["DP0605"]), ("old.json", OLD, [])]
)
def test_a_file_becomes_a_policy(file, expected, told):
    path = FILES / file
    found = imported(path.read_text(), path.stem)

    assert found.text == expected
    assert ([each.code for each in found.found], found.differences) == (told, ())


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("sz", "1.5 GiB", "1.5GiB"),
        ("sz", "4K", "4KiB"),
        ("sz", "10MB", "10MiB"),
        ("sz", "12,345", "12345B"),
        ("age", "2m", "2m"),
        ("age", "300 ms", "3 aggregations"),
        ("age", "7 aggr_intervals", "7 aggregations"),
        ("rate", "45 %", "45%"),
        ("rate", "3 samples", "15%"),
    ],
)
def test_numbers_as_damo_writes_them(place, text, expected):
    key, name = {"sz": ("sz_bytes", "size"), "age": ("age", "age"),
                 "rate": ("nr_accesses", "access_rate")}[place]  # fmt: skip
    data = [{"contexts": [{"targets": [{"pid": 1}], "schemes": [
        {"access_pattern": {key: {"min": text}}}
    ]}]}]  # fmt: skip
    size = {"1.5GiB": "1536MiB"}.get(expected, expected)

    assert f"{name}: {{min: {size}" in imported(json.dumps(data), "p").text


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


SCHEME = "kdamonds: [{contexts: [{schemes: [{action: pageout, %s}]}]}]"


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
    "text",
    ["access_pattern: {nr_accesses: {min: 3 %}}", "access_pattern: {age: {min: 50 ms}}",
     "quotas: {sz_bytes: 0.4 B}", "quotas: {time_ms: 900 us}"],
)  # fmt: skip
def test_what_damo_rounds_to_nothing_is_told(text):
    made, found = read(SCHEME % text)

    assert made
    assert [(each.code, each.severity) for each in found] == [("DP0620", "warning")]
    assert "down to nothing" in found[0].message


def test_older_goals_and_newer_layers():
    quota = "quotas: {sz_bytes: 1G, reset_interval_ms: 1s, goals: [{target_value_bp: 5000}]}"
    filters = "core_filters: [{filter_type: addr, address_range: {start: 4096, end: 8192}}]"
    sizes = "ops_filters: [{filter_type: hugepage_size, hugepage_size: {min: 2 M, max: 2 M}}]"
    made, found = read(SCHEME % f"{quota}, {filters}, {sizes}, max_nr_snapshots: 5")
    base, files = "contexts/0/schemes/0", made[0].tree

    assert not errors(found)
    assert [each.message for each in found] == [
        "damo does not look at `max_nr_snapshots` in a file, and the policy does",
        "damo does not look at `core_filters` in a file, and the policy does",
        "damo does not look at `ops_filters` in a file, and the policy does",
        "damo takes any mapping as all values of `hugepage_size`, and the policy as written",
    ]
    assert files[f"{base}/quotas/goals/0/target_value"] == "5000"
    assert files[f"{base}/core_filters/0/addr_end"] == "8192"
    assert files[f"{base}/ops_filters/0/min"] == str(2 << 20)
    assert files[f"{base}/stats/max_nr_snapshots"] == "5"


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


def test_json_as_programs_write_it():
    data = {"kdamonds": [{"contexts": [{"ops": "paddr", "pause": False, "targets": None}]}]}
    for text in (
        json.dumps(data),
        json.dumps(data, indent="\t"),
        json.dumps(data).replace("/", "\\/"),
    ):
        made, found = read(text)
        assert not found
        assert made[0].tree["contexts/0/operations"] == "paddr"


def leaves(value, path=()):
    """Yield the paths of everything in plain data, from the inside out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        if isinstance(each, (dict, list)):
            yield from leaves(each, (*path, key))
        yield (*path, key)


@pytest.mark.parametrize(
    ("pattern", "policy_says", "kernel"),
    [
        ("nr_accesses: {min: 0, max: 5}", "access_rate: {max: 5%}", ("nr_accesses/max", 1)),
        ("nr_accesses: {min: '5', max: '5.0'}", "access_rate: {min: 5%, max: 5%}",
         ("nr_accesses/min", 1)),
        ("nr_accesses: {min: 0 samples, max: 5 samples}", "access_rate: {max: 25%}",
         ("nr_accesses/max", 5)),
        ("age: {min: 5000000, max: max}", "age: {min: 5s}", ("age/min", 50)),
        ("age: {min: '120,000,000', max: max}", "age: {min: 2m}", ("age/min", 1200)),
        ("age: {min: 50 aggr_intervals, max: 60 aggr_intervals}", "age: {min: 5s, max: 6s}",
         ("age/min", 50)),
        ("age_unit: usec, nr_accesses_unit: percent, age: {min: 1000000, max: max}",
         "age: {min: 1s}", ("age/min", 10)),
    ],
)  # fmt: skip
def test_a_bare_rate_is_percent_and_a_bare_age_microseconds(pattern, policy_says, kernel):
    """As damo stages them: with 5 ms and 100 ms one sample in 20 is 5 %."""
    text = SCHEME % f"access_pattern: {{{pattern}}}"
    made, found = read(text)
    file, value = kernel

    assert not found
    assert made[0].tree[f"contexts/0/schemes/0/access_pattern/{file}"] == str(value)
    whole = text.replace(
        "schemes:", "ops: paddr, targets: [{regions: [{start: 4096, end: 8192}]}], schemes:"
    )
    printed = imported(whole, "p").text
    name, _, bounds = policy_says.partition(": ")
    assert yaml.load(printed, yaml.BaseLoader)["kdamonds"][0]["schemes"][0]["access_pattern"][
        name
    ] == yaml.load(bounds, yaml.BaseLoader)


@pytest.mark.parametrize("unit", ["nr_accesses_unit: samples", "age_unit: aggr_intervals"])
def test_a_unit_that_newer_damos_ignore_is_taken_and_told(unit):
    key, _, word = unit.partition("_unit: ")
    made, found = read(SCHEME % f"access_pattern: {{{unit}, {key}: {{min: 3, max: 7}}}}")

    assert made[0].tree[f"contexts/0/schemes/0/access_pattern/{key}/max"] == "7"
    assert [(each.code, each.severity) for each in found] == [("DP0620", "warning")]
    assert word in found[0].hint


@pytest.mark.parametrize(
    "most",
    ["max", "18,446,744,073,709,551,615 %", "18,446,744,073,709,551,616 %", "18446744073709551616"],
)
def test_a_largest_rate_and_age_of_damos_bound_nothing(most):
    pattern = f"nr_accesses: {{min: 0, max: '{most}'}}, age: {{min: 0, max: max}}"
    text = (SCHEME % f"access_pattern: {{{pattern}}}").replace(
        "schemes:", "ops: paddr, targets: [{regions: [{start: 4096, end: 8192}]}], schemes:"
    )
    became = imported(text, "p")

    assert "access_pattern" not in became.text
    assert became.found == ()


def test_a_largest_rate_that_the_kernel_cuts_to_nothing_is_told():
    """25 samples in an aggregation: of what damo writes for `max` the kernel keeps 0."""
    text = (SCHEME % "access_pattern: {nr_accesses: {min: 0, max: max}}").replace(
        "schemes:",
        "ops: paddr, intervals: {sample_us: 4 ms, aggr_us: 100 ms},"
        " targets: [{regions: [{start: 4096, end: 8192}]}], schemes:",
    )
    became = imported(text, "p")

    assert "access_rate: {max: 0%}" in became.text
    assert [(each.severity, each.hint) for each in became.found] == [
        ("warning", "the kernel takes 32 bits of it: 0")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("access_pattern: {nr_accesses: {min: 3 samples, max: 5}}", "different units"),
        ("access_pattern: {age: {min: 90 s 5}}", "not a number that damo reads"),
        ("quotas: {sz_bytes: 1 G 2 M}", "not a number that damo reads"),
        ("quotas: {time_ms: 010}", "begins with 0"),
        ("quotas: {goals: [{metric: some_mem_psi_us, target_value: 5 %}]}", "unit that damo"),
        ("quotas: {goals: [{metric: node_mem_used_bp, target_value: 5 s}]}", "unit that damo"),
        ("quotas: {goals: [{metric: node_eligible_mem_bp, target_value: 5 %}]}", "unit that damo"),
    ],
)
def test_what_damo_refuses_or_reads_as_another_number_is_refused(text, message):
    _, found = read(SCHEME % text)

    assert [message in each.message for each in errors(found)] == [True], found


def test_damos_rounding_is_done_as_damo_does_it_and_told():
    weights = "weights: {sz_permil: 0, nr_accesses_permil: 0.7 %, age_permil: 7}"
    made, found = read(SCHEME % f"quotas: {{sz_bytes: 1G, reset_interval_ms: 1 s, {weights}}}")
    base = "contexts/0/schemes/0/quotas/weights"

    assert made[0].tree[f"{base}/nr_accesses_permil"] == "6", "0.7 / 100 * 1000 is 6.999…"
    assert made[0].tree[f"{base}/age_permil"] == "7"
    assert ["damo makes 6 of `0.7 %`, not 7" in each.message for each in found] == [True]


LIST = """[{"name": "cold", "comments": "of a page about damo", "action": "pageout",
  "access_pattern": {"sz_bytes": {"min": "4.000 KiB", "max": "max"},
    "nr_accesses": {"min": 0, "max": 0}, "age": {"min": "1m", "max": "max"}}},
 {"action": "stat"}]
"""


def test_a_bare_list_of_schemes_is_for_all_memory():
    made, found = read(LIST)
    became = policy(made, "p", EVERYTHING, None)

    assert [(each.severity, each.message) for each in found] == [
        ("warning", "`name` is not a key of damo here: it says nothing"),
        ("warning", "`comments` is not a key of damo here: it says nothing"),
    ]
    assert "  ops: paddr\n  targets:\n  - {system_ram: true}\n" in became.text
    assert "access_rate: {max: 0%}\n      age: {min: 1m}" in became.text
    assert became.found == ()


@pytest.mark.parametrize(("ops", "code"), [("paddr", None), ("vaddr", "DP0207")])
def test_a_list_of_schemes_is_for_what_is_asked(ops, code):
    """Nobody says which processes: that is told where the list begins."""
    top, _ = parse_foreign("f.json", LIST)
    made, _ = sources(top, "f.json", ops)
    became = policy(made, "p", EVERYTHING, None)

    assert f"  ops: {ops}\n" in became.text
    assert {each.code for each in became.found} == ({code} if code else set())
    assert all(each.span.file == "f.json" for each in became.found)


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


def test_what_damo_says_of_a_running_kdamond_is_passed_over():
    data = [
        {"state": "on", "pid": 7, "contexts": [{"schemes": [{"stats": {}, "tried_regions": []}]}]}
    ]

    assert read(json.dumps(data))[1] == []


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


CONTEXT = "kdamonds: [{contexts: [{ops: %s, targets: [{%s}], %s}]}]"
MEMORY = "regions: [{start: 4096, end: 8192}]"


def test_a_quota_that_limits_nothing_is_left_out():
    """damo writes a window of 2⁶⁴-1 ms there, and whatever weights the file has."""
    weights = "weights: {sz_permil: 1, nr_accesses_permil: 2, age_permil: 3}"
    quota = f"quotas: {{time_ms: 0, sz_bytes: 0, reset_interval_ms: max, {weights}}}"
    for action, said in (("pageout", "quota: unlimited"), ("stat", "")):
        became = imported(
            CONTEXT % ("paddr", MEMORY, f"schemes: [{{action: {action}, {quota}}}]"), "p"
        )
        assert "every" not in became.text
        assert said in became.text
        assert became.found == ()


def test_regions_of_a_process_are_not_lost_without_a_word():
    became = imported(CONTEXT % ("vaddr", f"pid: 811, {MEMORY}", "schemes: []"), "p")

    assert [(each.severity, each.span.line, each.message, each.hint) for each in became.found] == [
        (
            "warning", 1,
            "the policy has not all of `contexts/0/targets/0/regions` of kdamond 0 of p.yaml",
            "on `vaddr` the kernel replaces them",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "form"),
    [
        ("{filter_type: write, matching: true, allow: true}", "kind: write"),
        ("{filter_type: write, matching: false, allow: true}", "kind: read"),
        ("{filter_type: cpumask, matching: true, allow: true, cpumask: 0-3}", 'cpus: "0-3"'),
        ("{filter_type: threads, matching: true, allow: true, tid_arr: '811,815'}", "threads: [811,815]"),
    ],
)  # fmt: skip
def test_sample_filters_that_reject_nothing_are_one_warning_with_our_form(filters, form):
    control = "primitives_enabled: {page_table: false, page_fault: true}"
    became = imported(
        CONTEXT % ("paddr", MEMORY, f"sample_control: {{{control}, sample_filters: [{filters}]}}"),
        "p",
    )

    assert "accesses: {primitive: page_fault}" in became.text
    assert [(each.severity, form in each.hint) for each in became.found] == [("warning", True)]


def test_a_text_that_damo_takes_as_true_is_refused():
    control = "sample_filters: [{filter_type: write, matching: 'false', allow: true}]"
    _, found = read(CONTEXT % ("paddr", MEMORY, f"sample_control: {{{control}}}"))

    assert ["which damo takes as true here" in each.message for each in found] == [True]
