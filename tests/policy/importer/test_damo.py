"""damo's own files, and the policies that they become."""

from __future__ import annotations

import json

import pytest

from damonpolicy.policy.importer.damo import sources
from damonpolicy.policy.importer.policy import policy
from damonpolicy.policy.source.yaml import parse_foreign
from tests.policy.importer.foreign import EVERYTHING, FILES, SCHEME, errors, imported, read

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


@pytest.mark.parametrize(
    ("file", "expected", "told"), [("tiering.yaml", TIERING, ["DP0605"]), ("old.json", OLD, [])]
)
def test_a_file_becomes_a_policy(file, expected, told):
    path = FILES / file
    found = imported(path.read_text(), path.stem)

    assert found.text == expected
    assert ([each.code for each in found.found], found.differences) == (told, ())


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
    """A list of schemes names no processes: the finding is at its beginning."""
    top, _ = parse_foreign("f.json", LIST)
    made, _ = sources(top, "f.json", ops)
    became = policy(made, "p", EVERYTHING, None)

    assert f"  ops: {ops}\n" in became.text
    assert {each.code for each in became.found} == ({code} if code else set())
    assert all(each.span.file == "f.json" for each in became.found)


def test_what_damo_says_of_a_running_kdamond_is_passed_over():
    data = [
        {"state": "on", "pid": 7, "contexts": [{"schemes": [{"stats": {}, "tried_regions": []}]}]}
    ]

    assert read(json.dumps(data))[1] == []


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
