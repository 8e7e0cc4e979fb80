"""Numbers in damo's files: their units, their bounds, and damo's rounding."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.policy.importer.foreign import SCHEME, errors, imported, read


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
    "text",
    ["access_pattern: {nr_accesses: {min: 3 %}}", "access_pattern: {age: {min: 50 ms}}",
     "quotas: {sz_bytes: 0.4 B}", "quotas: {time_ms: 900 us}"],
)  # fmt: skip
def test_what_damo_rounds_to_nothing_is_told(text):
    made, found = read(SCHEME % text)

    assert made
    assert [(each.code, each.severity) for each in found] == [("DP0620", "warning")]
    assert "down to nothing" in found[0].message


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
