"""damo's own files, and the policies that they become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from damonpolicy.errors import PolicyInvalid
from damonpolicy.kernel.capabilities import Answer, Capabilities
from damonpolicy.kernel.features import FEATURES
from damonpolicy.plan.damo import sources
from damonpolicy.plan.imported import policy
from damonpolicy.source.data import read_data
from damonpolicy.source.files import SourceFile

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
      access_rate: {min: 5%, max: 18446744073709551615 samples}
      age: {max: 18446744073709551615 aggregations}
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
      age: {min: 1m30s, max: 18446744073709551615 aggregations}
    filters:
    - reject:
        addr: {start: 0x1000, end: 0x100000}
    - allow:
        not:
          memcg: {path: /a, subtree: false}
"""


def imported(text, name):
    data, problem = read_data(SourceFile(f"{name}.yaml", text))
    assert problem is None
    return policy(sources(data, f"{name}.yaml"), name, EVERYTHING, None)


@pytest.mark.parametrize(("file", "expected"), [("tiering.yaml", TIERING), ("old.json", OLD)])
def test_a_file_becomes_a_policy(file, expected):
    path = FILES / file
    found = imported(path.read_text(), path.stem)

    assert found.text == expected
    assert (found.found, found.differences) == ((), ())


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
    with pytest.raises(PolicyInvalid, match="is no configuration of damo") as caught:
        sources(json.loads(data), "f.json")

    assert caught.value.hint


def test_text_that_is_neither_json_nor_yaml():
    _, problem = read_data(SourceFile("f", "a: [1\nb: }"))

    assert problem.code == "DP0004"
    assert problem.span.line == 2
    assert read_data(SourceFile("f", "!!python/object:os.system x"))[1].code == "DP0004"
    assert read_data(SourceFile("f", "[" * 20_000))[1] is not None


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
    text = (FILES / "tiering.yaml").read_text()
    data, _ = read_data(SourceFile("f", text))
    for path in list(leaves(data)):
        spoilt, _ = read_data(SourceFile("f", text))
        here = spoilt
        for key in path[:-1]:
            here = here[key]
        here[path[-1]] = junk
        try:
            found = policy(sources(spoilt, "f"), "p", EVERYTHING, None)
        except PolicyInvalid:
            continue
        assert found.text.startswith("version: 1\n"), path
