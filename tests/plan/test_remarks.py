"""A plan shows changes of a policy that change no file of the kernel."""

from __future__ import annotations

import pytest

from damonpolicy.engine.prepare import prepare
from damonpolicy.plan.show.render import render
from tests.world import World

POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: vaddr
    targets: [{process: {name: nginx}}]
    schemes: [{name: s, action: stat}]
modules: {damon_stat: {enabled: false}}
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "    temperature: {access_rate: 3, age: 1}\n",
            "note: `temperature` becomes size 0, access_rate 3, age 1 (was the default)",
        ),
        ("    commit_every: 2s\n", "note: `commit_every` becomes 2s (was 500ms)"),
        ("    when_absent: wait\n", "note: `when_absent` becomes `wait` (was `fail`)"),
        ("    # a comment\n", "note: only the text of `p` changes, nothing that it means"),
    ],
)
def test_what_no_file_tells_is_shown(text, shown):
    world = World.make("7.3")
    world.apply("p", text=POLICY)
    changed = POLICY.replace("    ops: vaddr\n", f"    ops: vaddr\n{text}")
    compiled = world.compile("p", text=changed)
    wanted = {**world.managed.policies, **compiled}
    plan = prepare(world.machine, world.managed, wanted, compiled)[1]

    assert plan.operations == ()
    assert plan.changes(world.managed)
    assert shown in render(plan, changes=True)
    world.close()


def test_nothing_is_said_where_nothing_changes():
    world = World.make("7.3")
    world.apply("p", text=POLICY)
    compiled = world.compile("p", text=POLICY)
    plan = prepare(world.machine, world.managed, dict(compiled), compiled)[1]

    assert not plan.changes(world.managed)
    assert "note:" not in render(plan, changes=False)
    world.close()
