"""Details in the messages of rules on schemes."""

from __future__ import annotations

from damonpolicy.policy.compile.policies import Overrides, load
from damonpolicy.policy.source.files import SourceFile

TUNED = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    intervals:
      auto_tune: {observe: 4%%, aggregations: 3, min_sample: 5ms, max_sample: 10s}
    schemes:
      - {name: s, action: stat, access_pattern: {age: {min: 5m}}%s}
"""


def found(text):
    return load([SourceFile("p.yaml", text)], Overrides(), machine=None).found


def test_an_age_beside_tuning_shows_how_many_aggregations_and_how_to_keep_the_time():
    (error,) = found(TUNED % "")

    assert error.code == "DP0221"
    assert "`3000 aggregations`, which may then be 5m to 6d22h40m; " in error.hint
    assert "`retune_age: true`" in error.hint
    assert "`damonpolicy run`" in error.hint


def test_both_ways_that_the_hint_names_are_valid():
    assert found(TUNED % ", retune_age: true") == ()
    assert found(TUNED.replace("5m}", "3000 aggregations}") % "") == ()
