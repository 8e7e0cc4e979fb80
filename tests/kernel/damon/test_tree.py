"""DAMON's tree as plain data."""

from __future__ import annotations

import re

import pytest

from damonpolicy.kernel.damon.schema import COUNTS, default, pattern
from damonpolicy.kernel.damon.tree import (
    configuration,
    count_of,
    digest,
    empty_slot,
    is_volatile,
    slot_numbers,
    slot_tree,
    snapshot,
    under,
)
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.guest.copied import copied
from tests.world import ROOT, STAT_OFF, World

SCHEME = "contexts/0/schemes/0"
INTERVALS = "contexts/0/monitoring_attrs/intervals"


OBSERVED = sorted((ROOT / "tests/guest/observed").glob("tree-*.txt"))
LINE = re.compile(r"\S*?admin/kdamonds/0/(\S+) 0?[0-7]{3} ?(.*)")


@pytest.mark.parametrize("listing", OBSERVED, ids=lambda path: path.stem)
def test_defaults_are_what_real_kernels_put_into_new_directories(listing):
    """Listings of real kernels, with one of each numbered directory and nothing else written."""
    found = (LINE.fullmatch(line) for line in listing.read_text().splitlines())
    tree = {each[1]: each[2] for each in found if each}
    counts = {path for path in tree if path.rpartition("/")[2] in COUNTS.values()}
    skipped = {path for path in tree if "tried_regions/" in path or "avail_" in path}
    # the script that made the directories wrote 1 to every nr_ file, also to this one
    skipped.add("contexts/0/schemes/0/quotas/weights/nr_accesses_permil")
    rest = tree.keys() - counts - skipped

    assert len(rest) > 40
    assert len(counts) >= 6
    assert {path: tree[path] for path in rest if tree[path] != default(path)} == {}
    assert {default(path) for path in counts} == {"0"}
    assert not empty_slot(tree)


def test_an_empty_slot():
    world = World.make("7.3")
    world.write("nr_kdamonds", "2")
    world.write("1/contexts/nr_contexts", "1")
    tree = snapshot(world.machine)

    assert empty_slot(slot_tree(tree, 0))
    assert not empty_slot(slot_tree(tree, 1))
    world.write("1/contexts/nr_contexts", "0")
    assert empty_slot(slot_tree(snapshot(world.machine), 1))
    world.close()


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


def test_a_tree_that_is_changed_while_it_is_read_is_read_anew(monkeypatch):
    """A change removes directories while it is read: readers hold no lock."""
    world = World.make("7.3")
    world.write(STAT_OFF, "N")
    world.apply("proactive-reclaim")
    machine, read, counts = world.machine, world.machine.read, [0]

    def reading(path):
        if path.endswith("/regions/0/start") and counts:
            machine.write(
                f"{KDAMONDS}/0/contexts/0/targets/0/regions/nr_regions", str(counts.pop())
            )
        return read(path)

    monkeypatch.setattr(machine, "read", reading)
    tree = slot_tree(snapshot(machine), 0)

    assert counts == []
    assert tree["contexts/0/targets/0/regions/nr_regions"] == "0"
    assert "contexts/0/targets/0/regions/0/end" not in tree
    world.close()


def test_without_damon_there_is_nothing_to_read_anew():
    machine = World.make("7.3").machine
    reads = []
    machine.scan = lambda path: reads.append(path) or (_ for _ in ()).throw(FileNotFoundError(path))
    machine.exists = lambda path: False
    with pytest.raises(FileNotFoundError):
        snapshot(machine)
    assert len(reads) == 1
