"""Policies for kernels that have everything, and for one that has nothing."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import Answer, Capabilities
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.state import Managed, Pending, SettingRecord, SlotRecord
from damonpolicy.policy.compile.policies import Overrides, compile_policies, load
from damonpolicy.policy.compile.sample import NUMA_BALANCING
from damonpolicy.policy.source.files import SourceFile

ATTRIBUTES = "contexts/0/monitoring_attrs"
SCHEME = "contexts/0/schemes/0"
POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
"""


def everything(known="yes", **other):
    answers = {feature.name: Answer(known, "test") for feature in FEATURES}
    return Capabilities({**answers, **{name: Answer(each, "test") for name, each in other.items()}})


def compiled(text, capabilities=None, machine=None):
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=machine)
    assert not loaded.found
    policies, found = compile_policies(loaded, capabilities or everything(), machine)
    return policies["p"], [each.code for each in found]


def files(text, capabilities=None):
    policy, found = compiled(text, capabilities)
    assert found == []
    return policy.kdamonds[0].files


def test_only_some_accesses_switch_balancing_off_in_the_same_transaction():
    policy, found = compiled(
        POLICY + "    accesses: {kind: write}\n", machine=EmulatedMachine.create("7.3")
    )

    assert found == ["DP0604"]
    assert policy.settings == {NUMA_BALANCING: "0"}
    own = policy.kdamonds[0].files
    assert own[f"{ATTRIBUTES}/sample/primitives/page_fault"] == "Y"
    assert own[f"{ATTRIBUTES}/sample/filters/nr_filters"] == "2"


@pytest.mark.parametrize("accesses", ["", "    accesses: {kind: any}\n"])
def test_all_accesses_are_said_where_the_kernel_has_a_choice(accesses):
    """Another policy may have run in this slot."""
    own = files(POLICY + accesses)

    assert own[f"{ATTRIBUTES}/sample/primitives/page_table"] == "Y"
    assert own[f"{ATTRIBUTES}/sample/primitives/page_fault"] == "N"
    assert own[f"{ATTRIBUTES}/sample/filters/nr_filters"] == "0"


def test_balancing_that_the_policy_wants_on_is_refused():
    text = POLICY + f"    accesses: {{kind: write}}\nsettings: {{{NUMA_BALANCING}: 1}}\n"

    assert compiled(text)[1] == ["DP0604", "DP0229"]
    assert compiled(text.replace(": 1}", ": 0}"))[1] == ["DP0604"]


def test_what_the_kernel_lacks_is_told_beside_an_unreadable_part():
    text = POLICY + "    accesses: {kind: write, cpus: all of them}\n"
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=None)
    _, found = compile_policies(loaded, everything(sample="no", operations_attrs="no"), None)

    assert len(loaded.found) == 1
    assert [each.code for each in found] == ["DP0401"]


def test_probes_of_the_development_tree():
    policy, found = compiled(
        POLICY
        + "    probes: [{name: x, preps: [set_pgidle], filters: [{allow: pgidle_unset}], weight: 3}]\n"
    )

    assert found == []
    probe = f"{ATTRIBUTES}/probes/0"
    own = policy.kdamonds[0]
    assert {name: own.files[f"{probe}/{name}"] for name in ("weight", "preps/nr_preps", "preps/0/prep_action")} == {
        "weight": "3", "preps/nr_preps": "1", "preps/0/prep_action": "set_pgidle",
    }  # fmt: skip
    assert own.filters[f"{probe}/filters"][0].files == {
        "type": "pgidle_unset", "matching": "Y", "allow": "Y", "path": "", "min": "0", "max": "0",
    }  # fmt: skip
    assert own.names[probe] == "x"


PATTERN = (
    "        access_pattern: {{access_rate: {{min: {0}, max: {1}}}, age: {{min: {2}, max: {3}}}}}\n"
)


@pytest.mark.parametrize(
    ("bounds", "rates", "ages"),
    [
        (("1%", "99%", "150ms", "250ms"), ("1", "19"), ("2", "2")),
        (("5%", "5%", "0", "1d"), ("1", "1"), ("0", "864000")),
        (("0%", "100%", "7 aggregations", "9 aggregations"), ("0", "20"), ("7", "9")),
    ],
)
def test_least_bounds_round_up_and_greatest_down(bounds, rates, ages):
    own = files(
        POLICY + "    schemes:\n      - name: s\n        action: stat\n" + PATTERN.format(*bounds)
    )

    pattern = f"{SCHEME}/access_pattern"
    assert (own[f"{pattern}/nr_accesses/min"], own[f"{pattern}/nr_accesses/max"]) == rates
    assert (own[f"{pattern}/age/min"], own[f"{pattern}/age/max"]) == ages


def test_what_is_not_bounded_is_as_large_as_the_kernel_holds():
    own = files(POLICY + "    schemes: [{name: s, action: stat}]\n")

    pattern = f"{SCHEME}/access_pattern"
    assert own[f"{pattern}/sz/max"] == str((1 << 64) - 1)
    assert own[f"{pattern}/nr_accesses/max"] == own[f"{pattern}/age/max"] == str((1 << 32) - 1)


def test_ages_beyond_what_the_kernel_holds_are_clamped():
    own = files(
        POLICY
        + "    intervals: {sample: 1us, aggregation: 20us}\n    schemes:\n      - name: s\n"
        + "        action: stat\n        access_pattern: {age: {min: 30d, max: 90d}}\n"
    )

    pattern = f"{SCHEME}/access_pattern/age"
    assert own[f"{pattern}/min"] == own[f"{pattern}/max"] == str((1 << 32) - 1)


def test_a_fed_goal_starts_neutral():
    text = POLICY + (
        "    schemes: [{name: s, action: pageout, quota: {size: 1MiB, every: 1s,"
        " goals: [{metric: user_input, target: 300}]}}]\n"
    )
    policy, found = compiled(text)

    assert found == ["DP0230"]
    goal = f"{SCHEME}/quotas/goals/0"
    assert policy.kdamonds[0].files[f"{goal}/current_value"] == "300"


@pytest.mark.parametrize(
    ("known", "weights"),
    [
        ("    temperature: {size: 1, access_rate: 2, age: 3}\n", ("1", "2", "3")),
        ("", ("0", "1", "1")),
    ],
)
def test_a_quota_without_weights_asks_the_temperature(known, weights):
    own = files(
        POLICY
        + known
        + "    schemes: [{name: s, action: lru_prio, quota: {size: 1MiB, every: 1s}}]\n"
    )

    names = ("sz_permil", "nr_accesses_permil", "age_permil")
    assert tuple(own[f"{SCHEME}/quotas/weights/{name}"] for name in names) == weights


def test_an_older_kernel_hears_only_what_it_knows():
    own = files(POLICY + "    schemes: [{name: s, action: stat}]\n", everything("no", sysfs="yes"))

    assert "refresh_ms" not in own
    assert not [path for path in own if "/sample/" in path or "/probes/" in path or "dests" in path]
    assert own[f"{SCHEME}/action"] == "stat"


def test_compiled_policies_and_what_is_managed_are_plain_data():
    policy, _ = compiled(
        POLICY + "    schemes: [{name: s, action: stat, filters: [{allow: anon}]}]\n"
    )
    managed = Managed(
        "boot",
        "transaction",
        7,
        {"p": policy},
        {3: SlotRecord("p/k", {"a": "b"}, 12, 34, ((1, 2),), {"c": "d"})},
        {"/proc/sys/vm/swappiness": SettingRecord("60", "1", ("p",))},
        0,
        Pending(12.5, 6),
    )

    assert CompiledPolicy.from_json(policy.to_json()) == policy
    assert Managed.from_json(managed.to_json()) == managed
    assert managed.slot_of("p/k") == 3
    assert managed.slot_of("p/none") is None
    with pytest.raises(ValueError, match="unknown format 2"):
        Managed.from_json({**managed.to_json(), "format": 2})
