"""The scheme that `--monitor` adds."""

from __future__ import annotations

import pytest

from damonpolicy.policy.compile.policies import Overrides, load
from damonpolicy.policy.model.monitor import monitored
from damonpolicy.policy.source.files import SourceFile

HEAD = """
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
"""


def read(schemes):
    text = HEAD + (f"    schemes: [{schemes}]\n" if schemes else "")
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=None)
    return loaded.reads[0][0].policy


@pytest.mark.parametrize(
    ("schemes", "names"),
    [
        ("", ["monitor"]),
        ("{name: a, action: stat}", ["a"]),
        ("{name: a, action: stat, access_pattern: {age: {min: 1s}}}", ["a", "monitor"]),
        ("{name: a, action: stat, filters: [{reject: anon}]}", ["a", "monitor"]),
        (
            "{name: monitor, action: stat, filters: [{reject: anon}]}, {name: b, action: pageout, quota: unlimited}",
            ["monitor", "b", "monitor-2"],
        ),
    ],
)
def test_each_kdamond_has_one_that_sees_all(schemes, names):
    (kdamond,) = monitored(read(schemes)).kdamonds

    assert [each.name for each in kdamond.schemes] == names
