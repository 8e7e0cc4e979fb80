"""The effect of each action on each kind of addresses."""

from __future__ import annotations

import typing

import pytest

from damonpolicy.kernel.damon.actions import ACTIONS, MOVING, traits
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.schemes import Action

OPS = typing.get_args(Kdamond.model_fields["ops"].annotation)
WORDS = typing.get_args(Action)

MADVISE = {"willneed", "cold", "hugepage", "nohugepage", "collapse"}
LRU = {"lru_prio", "lru_deprio"}
MIGRATION = {"migrate_hot", "migrate_cold"}


def having(ops, trait):
    return {action for action in WORDS if getattr(traits(ops, action), trait)}


def test_every_action_is_known_for_all_ops():
    assert set(ACTIONS) == set(OPS)
    for ops in OPS:
        assert set(ACTIONS[ops]) == set(WORDS)


def test_physical_addresses():
    assert having("paddr", "works") == set(WORDS) - MADVISE
    assert having("paddr", "filters") == {"stat", "pageout"} | LRU | MIGRATION
    assert having("paddr", "destinations") == set()
    assert having("paddr", "priority") == {"pageout"} | LRU | MIGRATION
    assert having("paddr", "needs") == set()


@pytest.mark.parametrize("ops", ["vaddr", "fvaddr"])
def test_virtual_addresses(ops):
    assert having(ops, "works") == set(WORDS) - LRU
    assert having(ops, "filters") == {"stat"} | MIGRATION
    assert having(ops, "destinations") == MIGRATION
    assert having(ops, "priority") == {"pageout"} | MIGRATION
    assert having(ops, "needs") == MIGRATION


def test_what_needs_a_feature_names_one():
    known = {feature.name for feature in FEATURES}
    for actions in ACTIONS.values():
        for each in actions.values():
            assert {each.needs, each.filters_need} - {""} <= known


def test_moving_actions_move():
    assert set(MOVING) == {"pageout"} | MIGRATION


@pytest.mark.parametrize("ops", OPS)
@pytest.mark.parametrize("action", WORDS)
def test_the_matrix_is_what_policies_hear(ops, action, cli, tmp_path):
    """Accepted where the kernel does it, refused where it would do nothing, or ignore a filter."""
    target = "{system_ram: true}" if ops == "paddr" else "{process: {name: nginx}}"
    if ops == "fvaddr":
        target = target[:-1] + ", regions: [{start: 1MiB, end: 2MiB}]}"
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\nname: p\nkdamonds:\n"
        f"  - name: k\n    ops: {ops}\n    targets: [{target}]\n"
        f"    schemes: [{{name: s, action: {action}, quota: unlimited, filters: [{{reject: anon}}]"
        + (", to: 1" if action in MIGRATION else "")
        + "}]\n"
    )
    found = cli("validate", path, "--format", "json").json["diagnostics"]

    each = traits(ops, action)
    refusal = "DP0212" if not each.works else "" if each.filters else "DP0213"
    assert [one["code"] for one in found] == ([refusal] if refusal else [])
