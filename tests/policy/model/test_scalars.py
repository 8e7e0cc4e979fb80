"""How fields read their raw text."""

from __future__ import annotations

import pydantic
import pytest

from damonpolicy.policy.model.access_pattern import AccessPattern, Ages
from damonpolicy.policy.model.intervals import AutoTune, Intervals
from damonpolicy.policy.model.probes import Probe
from damonpolicy.policy.model.quotas import Goal, Quota, Ratio, read_target
from damonpolicy.policy.model.scalars import Age
from damonpolicy.policy.model.targets import ProcessSelector


def code(model, **fields):
    with pytest.raises(pydantic.ValidationError) as caught:
        model.model_validate(fields)
    return [each["ctx"]["error"].code for each in caught.value.errors()]


def test_texts_are_bounded_and_hold_no_nul():
    assert code(ProcessSelector, name="x" * 4097) == ["DP0119"]
    assert code(ProcessSelector, name="a\0b") == ["DP0119"]
    assert ProcessSelector(name="x" * 4096).name == "x" * 4096


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("0", Age(0)),
        ("2m", Age(120_000_000)),
        ("1 aggregation", Age(1, aggregations=True)),
        ("20 aggregations", Age(20, aggregations=True)),
    ],
)
def test_ages(text, age):
    assert Ages.model_validate({"min": text}).min == age


@pytest.mark.parametrize("text", ["20 aggs", "20aggregations", "-1 aggregations", "20"])
def test_no_ages(text):
    assert code(Ages, min=text) in (["DP0111"], ["DP0121"])


def test_cgroups_are_paths_from_the_root():
    assert ProcessSelector(cgroup="/a/b/").cgroup == "/a/b"
    for path in ("a/b", "/a/../b", "/a\nb"):
        assert code(ProcessSelector, cgroup=path) == ["DP0123"]


def test_ratios():
    assert Quota.model_validate({"fail_charge": "2/4"}).fail_charge == Ratio(2, 4)
    for text in ("1/0", "0.5", "1 / 2", "-1/2"):
        assert code(Quota, fail_charge=text) == ["DP0125"]


@pytest.mark.parametrize(
    ("metric", "target", "expected"),
    [
        ("user_input", "10000", 10000),
        ("some_mem_psi_us", "1.5ms", 1500),
        ("node_mem_used_bp", "99.7%", 9970),
        ("active_mem_bp", "0.01%", 1),
    ],
)
def test_targets_take_their_metrics_unit(metric, target, expected):
    assert read_target(Goal(metric=metric, target=target)) == expected


def tune(low, high):
    return AutoTune.model_validate(
        {"observe": "4%", "aggregations": "3", "min_sample": low, "max_sample": high}
    )


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        (Intervals(), (5_000, 100_000, 20)),
        (Intervals(sample="10ms"), (10_000, 200_000, 20)),
        (Intervals(aggregation="1s"), (5_000, 1_000_000, 200)),
        (Intervals(auto_tune=tune("1ms", "2ms")), (2_000, 40_000, 20)),
        (Intervals(auto_tune=tune("7ms", "1s")), (7_000, 140_000, 20)),
        (Intervals(auto_tune=tune("1ms", "1s")), (5_000, 100_000, 20)),
        (Intervals(sample="30ms", aggregation="100ms"), (30_000, 100_000, 3)),
        (Intervals(sample="0", aggregation="0"), (0, 0, 1)),
    ],
)
def test_intervals_have_twenty_samples_unless_said(intervals, expected):
    assert (intervals.sampling, intervals.aggregating, intervals.samples) == expected


def test_models_are_frozen_and_closed():
    with pytest.raises(pydantic.ValidationError):
        AccessPattern().size = None
    with pytest.raises(pydantic.ValidationError):
        Probe(name="x", wait=1)
