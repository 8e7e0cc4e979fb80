"""Rules on quotas and goals that no folder of mistakes shows."""

from __future__ import annotations

import pytest

POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - {{name: s, action: {action}, quota: {{every: 1s, {size}goals: [{{metric: some_mem_psi_us, target: 1ms}}]}}}}
"""


@pytest.mark.parametrize("size", ["", "size: unlimited, "])
@pytest.mark.parametrize(("action", "told"), [("stat", False), ("pageout", True)])
def test_goals_may_tune_without_end_what_only_counts(action, told, size, tmp_path, cli):
    path = tmp_path / "p.yaml"
    path.write_text(POLICY.format(action=action, size=size))
    outcome = cli("validate", path)

    assert ("DP0218" in outcome.err) == told
    assert (outcome.code == 0) == (not told or bool(size))
