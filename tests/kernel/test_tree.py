"""DAMON's tree as plain data."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import EmulatedMachine, versions
from damonpolicy.kernel.sysfs import KDAMONDS
from damonpolicy.kernel.tree import (
    configuration,
    count_of,
    default,
    digest,
    empty_slot,
    is_volatile,
    pattern,
    slot_numbers,
    slot_tree,
    snapshot,
    under,
)
from tests.kernel.copied import copied
from tests.world import World

SCHEME = "contexts/0/schemes/0"
INTERVALS = "contexts/0/monitoring_attrs/intervals"


@pytest.mark.parametrize("version", versions())
def test_defaults_are_what_every_new_directory_holds(version):
    """A whole tree with one child everywhere, none of it written but the counts."""
    machine = EmulatedMachine.create(version)
    machine.write(f"{KDAMONDS}/nr_kdamonds", "2")
    done = set()
    while True:
        tree = slot_tree(snapshot(machine), 0)
        counts = {path for path in tree if path.rpartition("/")[2].startswith("nr_")} - done
        counts = {path for path in counts if "nr_regions/" not in path and "/stats/" not in path}
        if not counts:
            break
        for path in counts:
            machine.write(f"{KDAMONDS}/0/{path}", "1")
        done |= counts

    wrong = {
        path: value for path, value in tree.items() if path not in done and value != default(path)
    }

    assert len(done) >= 7
    assert len(tree) > 50
    assert not wrong
    assert not empty_slot(tree)
    assert empty_slot(slot_tree(snapshot(machine), 1))


def test_a_snapshot_is_read_without_results():
    world = World.make("7.3")
    world.apply("monitor")
    world.write("0/state", "update_schemes_tried_regions")
    tree = snapshot(world.machine)

    assert slot_numbers(tree) == list(range(8))
    assert tree["0/contexts/0/operations"] == "vaddr"
    assert not any("tried_regions" in path or "avail_operations" in path for path in tree)
    assert "state" in slot_tree(tree, 0)
    assert not any(path.startswith("0/") for path in slot_tree(tree, 1))
    world.close()


def test_a_missing_tree_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        snapshot(copied(tmp_path, {}))


def test_a_copied_tree_reads_like_the_machine(tmp_path):
    files = {"nr_kdamonds": "1\n", "0/state": "on\n", "0/contexts/0/targets/10/pid_target": "5\n"}
    machine = copied(tmp_path, {f"{KDAMONDS}/{path}": text for path, text in files.items()})

    assert snapshot(machine) == {path: text.strip() for path, text in files.items()}


@pytest.mark.parametrize(
    ("path", "tree", "expected"),
    [
        ("pid", {}, True),
        ("state", {}, True),
        ("refresh_ms", {}, False),
        (f"{SCHEME}/stats/nr_tried", {}, True),
        (f"{SCHEME}/stats/max_nr_snapshots", {}, False),
        (f"{SCHEME}/quotas/effective_bytes", {}, True),
        (f"{SCHEME}/quotas/bytes", {}, False),
        (f"{INTERVALS}/sample_us", {}, False),
        (f"{INTERVALS}/sample_us", {f"{INTERVALS}/intervals_goal/aggrs": "0"}, False),
        (f"{INTERVALS}/sample_us", {f"{INTERVALS}/intervals_goal/aggrs": "3"}, True),
        (f"{INTERVALS}/aggr_us", {f"{INTERVALS}/intervals_goal/aggrs": "3"}, True),
        (f"{INTERVALS}/update_us", {f"{INTERVALS}/intervals_goal/aggrs": "3"}, False),
        (f"{SCHEME}/quotas/goals/1/current_value", {}, True),
        (
            f"{SCHEME}/quotas/goals/1/current_value",
            {f"{SCHEME}/quotas/goals/1/target_metric": "some_mem_psi_us"},
            False,
        ),
        (
            f"{SCHEME}/quotas/goals/1/current_value",
            {f"{SCHEME}/quotas/goals/0/target_metric": "some_mem_psi_us"},
            True,
        ),
    ],
)
def test_volatile_is_a_function_of_the_tree(path, tree, expected):
    assert is_volatile(path, tree) is expected
    assert (path not in configuration({path: "1", **tree})) is expected


def test_numbers_become_patterns():
    assert pattern("10/contexts/0/schemes/12/action") == "*/contexts/*/schemes/*/action"
    assert pattern("nr_kdamonds") == "nr_kdamonds"
    assert pattern("0") == "*"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{SCHEME}/filters/3/type", f"{SCHEME}/filters/nr_filters"),
        (f"{SCHEME}/core_filters/3/type", f"{SCHEME}/core_filters/nr_filters"),
        (f"{SCHEME}/filters/nr_filters", "contexts/0/schemes/nr_schemes"),
        (f"{SCHEME}/action", "contexts/0/schemes/nr_schemes"),
        ("contexts/0/targets/2/regions/0/end", "contexts/0/targets/2/regions/nr_regions"),
        ("contexts/0/monitoring_attrs/nr_regions/min", "contexts/nr_contexts"),
        ("contexts/nr_contexts", None),
        ("refresh_ms", None),
    ],
)
def test_the_count_that_wipes_a_file(path, expected):
    assert count_of(path) == expected


def test_what_a_count_wipes():
    paths = ["contexts/0/schemes/0/action", "contexts/0/schemes/nr_schemes", "contexts/0/targets/0"]

    assert under("contexts/0/schemes/nr_schemes", paths) == [paths[0]]
    assert under("contexts/nr_contexts", paths) == paths
    assert under("nr_kdamonds", ["0/state", "nr_kdamonds"]) == ["0/state"]


def test_digests_tell_values_apart_and_orders_not():
    assert digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"})
    assert digest({"a": "1"}) != digest({"a": "2"})
    assert digest({"a": "1"}) != digest({"a": 1})
