"""The fewest safe writes from one tree to another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.kernel.damon.schema import default
from damonpolicy.kernel.damon.tree import differing, under
from damonpolicy.plan.diff import changes

GOALS = "contexts/0/schemes/0/quotas/goals"
INTERVALS = "contexts/0/monitoring_attrs/intervals"


def written(current, desired, **how):
    operations, tree = changes(2, current, desired, **how)
    assert all(each.slot == 2 for each in operations)
    prefix = "/sys/kernel/mm/damon/admin/kdamonds/2/"
    return [(each.path.removeprefix(prefix), each.before, each.after) for each in operations], tree


def goals(*paths, metric="node_memcg_used_bp"):
    tree = {f"{GOALS}/nr_goals": str(len(paths))}
    for index, path in enumerate(paths):
        base = f"{GOALS}/{index}"
        tree |= {f"{base}/path": path, f"{base}/target_metric": metric, f"{base}/nid": "0"}
    return tree


def test_nothing_is_written_twice():
    tree = goals("/a", "/b")

    assert written(tree, tree) == ([], tree)


def test_one_value_is_one_write():
    before, after = goals("/a", "/b"), goals("/a", "/c")

    assert written(before, after) == ([(f"{GOALS}/1/path", "/b", "/c")], after)


def test_a_count_comes_before_what_it_makes_and_defaults_are_not_written():
    operations, tree = written({f"{GOALS}/nr_goals": "0"}, goals("/a"))

    assert operations == [
        (f"{GOALS}/nr_goals", "0", "1"),
        (f"{GOALS}/0/path", "", "/a"),
        (f"{GOALS}/0/target_metric", "user_input", "node_memcg_used_bp"),
    ]
    assert tree == goals("/a")


def test_another_count_wipes_so_that_all_is_written_anew():
    operations, tree = written(goals("/a"), goals("/a", "/b"))

    assert [path for path, _, _ in operations] == [
        f"{GOALS}/nr_goals",
        f"{GOALS}/0/path",
        f"{GOALS}/0/target_metric",
        f"{GOALS}/1/path",
        f"{GOALS}/1/target_metric",
    ]
    assert tree == goals("/a", "/b")


def test_a_text_becomes_empty_by_a_new_directory():
    """A write of nothing does nothing."""
    operations, tree = written(goals("/a", "/b"), goals("/a", ""))

    assert operations[0] == (f"{GOALS}/nr_goals", "2", "2")
    assert (f"{GOALS}/1/path", "", "") not in operations
    assert tree == goals("/a", "")


def tuned(sample, aggregations="3"):
    return {
        f"{INTERVALS}/sample_us": sample,
        f"{INTERVALS}/aggr_us": "100000",
        f"{INTERVALS}/intervals_goal/aggrs": aggregations,
    }


def test_what_the_kernel_tunes_is_left_to_it():
    assert written(tuned("7000"), tuned("5000")) == ([], tuned("7000"))
    assert differing(tuned("7000"), tuned("5000")) == []


@pytest.mark.parametrize(
    ("before", "after", "how"),
    [
        (tuned("7000"), tuned("5000"), {"anew": True}),
        (tuned("7000"), tuned("5000", "0"), {}),
        (tuned("7000", "0"), tuned("5000"), {}),
    ],
    ids=["anew", "tuning goes", "tuning comes"],
)
def test_what_tuning_starts_from_is_written(before, after, how):
    operations, tree = written(before, after, **how)

    assert (f"{INTERVALS}/sample_us", "7000", "5000") in operations
    assert tree == after


def test_what_is_not_spoken_of_stays():
    assert written({"a": "1", "b": "2"}, {"a": "3"})[1] == {"a": "3", "b": "2"}
    assert differing({"a": "1", "b": "2"}, {"a": "1", "c": "1"}) == ["c"]


def test_a_file_that_is_missing_is_as_good_as_its_default():
    path = "contexts/0/pause"
    there, missing = {path: "Y"}, {}
    assert differing(missing, {path: "N"}) == []
    assert differing(there, {path: "N"}) == [path]
    assert written(missing, {path: "N"})[0] == []
    assert written(there, {path: "N"})[0] == [(path, "Y", "N")]


PATHS = st.lists(st.sampled_from(["", "/a", "/b"]), max_size=4)


@given(PATHS, PATHS)
def test_every_way_leads_to_what_is_desired(before, after):
    current, desired = goals(*before), goals(*after)
    operations, tree = written(current, desired)

    assert tree == desired
    assert replayed(current, operations) == desired


def replayed(tree, operations):
    """What a kernel would make of it: a count wipes and makes, a write of nothing does nothing."""
    tree = dict(tree)
    for path, _, value in operations:
        assert path in tree, "the directory is there"
        if path.endswith("nr_goals"):
            for gone in under(path, tree):
                del tree[gone]
            for index in range(int(value)):
                for name in ("path", "target_metric", "nid"):
                    tree[f"{GOALS}/{index}/{name}"] = default(f"{GOALS}/{index}/{name}")
        if value:
            tree[path] = value
    return tree
