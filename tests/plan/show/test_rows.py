"""Values and filters in the policy's words."""

from __future__ import annotations

import pytest

from damonpolicy.plan.plan import KdamondPlan
from damonpolicy.plan.show.rows import Row, rows
from damonpolicy.plan.show.texts import chain, value_text
from damonpolicy.policy.compile.sample import sample_files
from damonpolicy.policy.model.sample import Accesses

INTERVALS = "contexts/0/monitoring_attrs/intervals"
OWNER = "contexts/0/schemes/0"
MOST = str((1 << 32) - 1)


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("bool", "Y", "true"),
        ("bool", "N", "false"),
        ("text", "10", "10"),
        ("count", "10", "10"),
        ("us", "1500", "1ms500us"),
        ("ms", "1500", "1s500ms"),
        ("bytes", "1048576", "1MiB"),
        ("bytes", "0", "0B"),
        ("bytes", str((1 << 64) - 1), "unlimited"),
        ("address", "4096", "0x1000"),
        ("bp", "9970", "99.7%"),
        ("permil", "25", "2.5%"),
        ("samples", "0", "0%"),
        ("samples", "1", "5% (1 of 20 samples)"),
        ("samples", "99", "100% (99 of 20 samples)"),
        ("samples", MOST, "unlimited"),
        ("aggregations", "0", "0"),
        ("aggregations", "1", "100ms (1 aggregation)"),
        ("aggregations", "20", "2s (20 aggregations)"),
        ("aggregations", MOST, "unlimited"),
        ("bytes", "no number", "no number"),
    ],
)
def test_values(unit, value, text):
    assert value_text(unit, value, {}) == text


def test_shares_and_ages_follow_the_intervals():
    tree = {f"{INTERVALS}/sample_us": "10000", f"{INTERVALS}/aggr_us": "1000000"}
    assert value_text("samples", "50", tree) == "50% (50 of 100 samples)"
    assert value_text("aggregations", "3", tree) == "3s (3 aggregations)"

    tuned = {**tree, f"{INTERVALS}/intervals_goal/aggrs": "3"}
    assert value_text("samples", "50", tuned) == "50% (50 of 100 samples)"
    assert value_text("aggregations", "3", tuned) == "3 aggregations"


@pytest.mark.parametrize(
    ("metric", "text"),
    [("some_mem_psi_us", "10ms"), ("node_mem_free_bp", "100%"), ("user_input", "10000")],
)
def test_goals_take_their_metrics_unit(metric, text):
    base = f"{OWNER}/quotas/goals/0"

    assert (
        value_text("goal", "10000", {f"{base}/target_metric": metric}, f"{base}/target_value")
        == text
    )


def filters(*each, layer="filters", **more):
    tree = {f"{OWNER}/{layer}/nr_filters": str(len(each))}
    for index, (kind, matching, allow) in enumerate(each):
        base = f"{OWNER}/{layer}/{index}"
        tree |= {f"{base}/type": kind, f"{base}/matching": matching, f"{base}/allow": allow}
        tree |= {f"{base}/{name}": value for name, value in more.items()}
    return tree


def test_filters_are_said_with_their_default_verdict():
    assert chain({}, OWNER) == ""
    assert chain(filters(("anon", "Y", "N")), OWNER) == "reject anon; the rest is taken"
    assert chain(filters(("anon", "N", "N"), ("young", "Y", "Y")), OWNER) == (
        "reject what is not anon; allow young; the rest is rejected"
    )


def test_filters_with_details():
    assert "addr 0x1000-0x2000" in chain(
        filters(("addr", "Y", "N"), addr_start="4096", addr_end="8192"), OWNER
    )
    assert "target 3" in chain(filters(("target", "Y", "N"), damon_target_idx="3"), OWNER)
    assert "hugepage_size 4KiB-2MiB" in chain(
        filters(("hugepage_size", "Y", "N"), min="4096", max="2097152"), OWNER
    )


def cgroups(*paths, allow="Y"):
    tree = filters(*(("memcg", "Y", allow) for _ in paths))
    return tree | {f"{OWNER}/filters/{n}/memcg_path": path for n, path in enumerate(paths)}


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (["/a"], "allow memcg /a"),
        (["/a", "/a/b"], "allow memcg /a and 1 below it"),
        (["/a", "/a/b", "/a/b/c"], "allow memcg /a and 2 below it"),
        (["/a", "/ab"], "allow memcg /a; allow memcg /ab"),
        (
            ["/a", "/a/b", "/c", "/c/d"],
            "allow memcg /a and 1 below it; allow memcg /c and 1 below it",
        ),
    ],
)
def test_a_subtree_is_said_once(paths, text):
    assert chain(cgroups(*paths), OWNER) == f"{text}; the rest is rejected"


def test_core_filters_are_asked_first():
    tree = filters(("anon", "Y", "Y"), layer="ops_filters") | filters(
        ("target", "Y", "N"), layer="core_filters"
    )

    assert chain(tree, OWNER) == "reject target 0; allow anon; the rest is rejected"


def sampled(accesses):
    base = "contexts/0/monitoring_attrs/sample"
    return {f"{base}/{name}": value for name, value in sample_files(accesses, None).items()}


@pytest.mark.parametrize(
    ("accesses", "text"),
    [
        ({"kind": "write"}, "writes"),
        ({"kind": "read", "cpus": "0-1,3"}, "reads of CPUs 0-1, 3"),
        ({"threads": ("7", "9")}, "all of threads 7, 9"),
        ({"kind": "write", "cpus": "0", "threads": ("7",)}, "writes of CPU 0 and thread 7"),
    ],
)
def test_which_accesses_count_is_one_row(accesses, text):
    wanted = sampled(Accesses(**accesses))
    start = KdamondPlan("p/k", 0, "start", after=wanted)
    change = KdamondPlan("p/k", 0, "change", before={"refresh_ms": "0"}, after=wanted)
    path = "contexts/0/monitoring_attrs/sample"

    assert rows(start) == [Row("+", "", "accesses", "all", text, path)]
    assert [row for row in rows(change) if row.sign == "~"] == [
        Row("~", "", "accesses", "all", text, path)
    ]


def test_all_accesses_are_not_worth_a_row():
    base = "contexts/0/monitoring_attrs/sample/primitives"
    everything = {f"{base}/page_table": "Y", f"{base}/page_fault": "N"}

    assert rows(KdamondPlan("p/k", 0, "start", after=everything)) == []


def scheme(number, action):
    return {f"contexts/0/schemes/{number}/action": action}


def test_schemes_are_compared_by_name():
    names = {"contexts/0/schemes/0": "a", "contexts/0/schemes/1": "b"}
    swapped = {"contexts/0/schemes/0": "b", "contexts/0/schemes/1": "a"}
    plan = KdamondPlan(
        "p/k",
        0,
        "change",
        before={**scheme(0, "stat"), **scheme(1, "pageout")},
        after={**scheme(0, "pageout"), **scheme(1, "stat")},
        names=swapped,
        names_before=names,
    )

    assert [(row.scope, row.word, row.before, row.after) for row in rows(plan)] == [
        ("scheme b", "position", "1", "0"),
        ("scheme a", "position", "0", "1"),
    ]


def test_what_goes_is_shown_where_it_was():
    plan = KdamondPlan(
        "p/k",
        0,
        "change",
        before={**scheme(0, "pageout"), **scheme(1, "stat")},
        after=scheme(0, "stat"),
        names={"contexts/0/schemes/0": "b"},
        names_before={"contexts/0/schemes/0": "a", "contexts/0/schemes/1": "b"},
    )

    assert [(row.sign, row.scope, row.word, row.path) for row in rows(plan)] == [
        ("~", "scheme b", "position", "contexts/0/schemes/0"),
        ("-", "scheme a", "action", "contexts/0/schemes/0/action"),
    ]
