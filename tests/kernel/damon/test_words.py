"""One table of our words, the kernel's files and damo's options."""

from __future__ import annotations

import re

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.damon.schema import COUNTS, pattern
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.damon.words import FOREIGN, WORDS, by_kernel, elsewhere, rank
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.reading.levels import keys_at
from docs.generator.policy_schema import policy_schema
from tests.world import KERNELS, World

SILENT = re.compile(
    r"(state|pid|.*/stats/(?!max_nr_snapshots).*|.*/effective_bytes|.*/avail_operations)\Z"
)
FULL = {
    "contexts/nr_contexts": "1",
    "contexts/0/targets/nr_targets": "1",
    "contexts/0/targets/0/regions/nr_regions": "1",
    "contexts/0/schemes/nr_schemes": "1",
    "contexts/0/schemes/0/quotas/goals/nr_goals": "1",
    "contexts/0/schemes/0/dests/nr_dests": "1",
    "contexts/0/schemes/0/filters/nr_filters": "1",
    "contexts/0/schemes/0/core_filters/nr_filters": "1",
    "contexts/0/schemes/0/ops_filters/nr_filters": "1",
    "contexts/0/monitoring_attrs/probes/nr_probes": "1",
    "contexts/0/monitoring_attrs/probes/0/filters/nr_filters": "1",
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_file_of_the_kernel_has_a_word(kernel):
    """Every file of the kernel's tree can be reached."""
    machine = EmulatedMachine.create(kernel)
    world = World(machine, None)
    world.write("/sys/module/damon_stat/parameters/enabled", "N") if kernel != "6.12" else None
    world.write("nr_kdamonds", "1")
    for path, count in FULL.items():
        if machine.exists(f"/sys/kernel/mm/damon/admin/kdamonds/0/{path}"):
            world.write(f"0/{path}", count)
    files = [path.removeprefix("0/") for path in snapshot(machine) if path.startswith("0/")]

    wordless = [
        path
        for path in files
        if by_kernel(path) is None
        and path.rpartition("/")[2] not in COUNTS.values()
        and not SILENT.match(path)
    ]
    assert wordless == []
    assert len(files) > 50


def test_every_file_of_the_features_has_a_word():
    files = {path.removeprefix("*/") for each in FEATURES for path in each.files}
    files -= {path for path in files if path.startswith("/sys/module/")}
    counts = set(COUNTS.values()) | {"nr_kdamonds"}
    assert [
        path
        for path in sorted(files)
        if path.rpartition("/")[2] not in counts
        and by_kernel(path) is None
        and not SILENT.match(path)
    ] == []


def test_no_file_stands_twice():
    assert len({word.kernel for word in WORDS}) == len(WORDS)
    assert all(pattern(word.kernel) == word.kernel for word in WORDS)


def test_ranks_follow_the_policy():
    paths = (
        "contexts/0/operations",
        "contexts/3/targets/7/pid_target",
        "contexts/0/schemes/1/action",
    )
    ranks = [rank(path) for path in (*paths, "something/else")]

    assert ranks == sorted(set(ranks))
    assert ranks[-1] == len(WORDS)


def test_foreign_words_lead_to_words_of_ours():
    schema = policy_schema()
    ours = {field for each in (schema, *schema["$defs"].values()) for field in each["properties"]}
    assert set(FOREIGN.values()) <= ours
    assert {word.ours.split(".")[0] for word in WORDS} - ours == set()


K = ("kdamonds", 0)
S = (*K, "schemes", 0)


@pytest.mark.parametrize(
    ("path", "word", "meant"),
    [
        ((), "contexts", "kdamonds"),
        (K, "operations", "ops"),
        (K, "nr_regions", "region_count"),
        (K, "sample_control", "accesses"),
        (K, "pause", "paused"),
        ((*K, "intervals"), "sample_us", "sample"),
        ((*K, "intervals"), "ops_update", "update"),
        ((*K, "intervals"), "intervals_goal", "auto_tune"),
        ((*K, "intervals", "auto_tune"), "access_bp", "observe"),
        ((*K, "targets", 0), "pid", "process"),
        ((*K, "accesses"), "cpumask", "cpus"),
        ((*K, "accesses"), "tid_arr", "threads"),
        (S, "target_nid", "to"),
        (S, "quotas", "quota"),
        (S, "wmarks", "watermarks"),
        (S, "apply_interval_us", "apply_every"),
        (S, "foreach", "for_each"),
        ((*S, "access_pattern"), "sz", "size"),
        ((*S, "access_pattern"), "nr_accesses", "access_rate"),
        ((*S, "quota"), "bytes", "size"),
        ((*S, "quota"), "reset_interval_ms", "every"),
        ((*S, "quota"), "goal_tuner", "tuner"),
        ((*S, "quota", "goals", 0), "target_value", "target"),
        ((*S, "quota", "goals", 0), "nid", "node"),
        ((*S, "filters", 0), "pass", "allow"),
        ((*S, "filters", 0), "block", "reject"),
        ((*S, "filters", 0, "allow"), "memcg_path", "memcg"),
    ],
)
def test_did_you_mean_knows_kernel_and_damo(path, word, meant):
    assert FOREIGN[word] == meant
    assert meant in keys_at(path)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("damos_action", "action"),
        ("damos_quota_space", "quota.size"),
        ("damos_sz_region", "access_pattern.size"),
        ("damos_access_rate", "access_pattern.access_rate"),
        ("damos_wmarks", "watermarks"),
        ("damos_quota_goal", "quota.goals"),
        ("--damos_apply_interval", "apply_every"),
        ("monitoring_attrs", "intervals` and `region_count"),
        ("monitoring_intervals_goal", "intervals.auto_tune"),
        ("intervals_goal", "intervals.auto_tune"),
        ("nr_accesses", "access_pattern.access_rate"),
        ("sz", "access_pattern.size"),
        ("aggr_us", "intervals.aggregation"),
        ("sample", "intervals.sample"),
        ("fail_charge_num", "quota.fail_charge"),
        ("min", ""),
        ("type", ""),
        ("age", ""),
        ("start", ""),
        ("cgroup", ""),
        ("action", ""),
        ("current_value", ""),
        ("nothing", ""),
    ],
)
def test_every_name_of_kernel_and_damo_has_at_most_one_place(name, place):
    assert elsewhere(name) == place


def test_places_are_keys_of_ours():
    schema = policy_schema()
    ours = {field for each in (schema, *schema["$defs"].values()) for field in each["properties"]}
    names = {word.damo.removeprefix("--") for word in WORDS}
    names |= {part for word in WORDS for part in word.kernel.split("/")}
    places = {name: elsewhere(name) for name in names if elsewhere(name)}

    assert len(places) > 60
    for place in places.values():
        assert set(re.split(r"\.|` and `", place)) <= ours


def test_kdamonds_know_their_keys():
    assert set(keys_at(K)) == {*Kdamond.model_fields, "for_each"}
