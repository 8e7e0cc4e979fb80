"""Directories and files of a tree: paths, and what the tree holds there."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.directory import File


def test_reads_content() -> None:
    """A file gives its text, its number or its truth, and its default where it is missing."""
    goal = "contexts/0/schemes/0/quotas/goals/1"
    tree = {
        "contexts/0/schemes/nr_schemes": "1",
        "contexts/0/schemes/0/quotas/goals/nr_goals": "2",
        f"{goal}/target_value": "300",
        f"{goal}/complement": "Y",
    }
    scheme = view.Kdamond(tree).schemes[0]
    assert scheme.quota.goals[1].path == goal
    assert [each.target.number for each in scheme.quota.goals] == [0, 300]
    assert [each.complement.yes for each in scheme.quota.goals] == [False, True]
    assert scheme.quota.goals[1].metric.text == "user_input"
    assert not scheme.quota.goals[1].metric.present
    assert len(view.Kdamond(tree).schemes) == 1
    assert list(view.Kdamond({"contexts/0/schemes/nr_schemes": "-1"}).schemes) == []


def test_finds_the_directory_of_a_path() -> None:
    """A numbered directory holds itself and what is below it."""
    schemes = view.Kdamond().schemes
    scheme = schemes[12]
    assert (schemes.name, scheme.name) == ("schemes", "12")
    assert schemes.holds(scheme.action.path)
    assert not schemes.holds(schemes.path)
    assert not schemes.holds(f"{schemes.path}2/1")
    for path in (scheme.path, scheme.quota.goals[0].target.path):
        found = schemes.holding(path)
        assert found is not None
        assert found.path == scheme.path
    assert schemes.holding(schemes.count.path) is None
    assert schemes.holding(view.Kdamond().targets[1].pid.path) is None
    slot = view.Kdamonds().holding("3/state")
    assert slot is not None
    assert slot.path == "3"


def test_lists_directories_with_their_count() -> None:
    """What is to be written gets its number, and is counted."""
    region = view.Region()
    regions = view.Target(path="t").regions.listing([{region.start.path: "1"}, {}])
    assert regions == {"t/regions/nr_regions": "2", "t/regions/0/start": "1"}


def test_gives_paths_without_a_tree() -> None:
    """A path needs no tree; in a whole tree it starts with the slot."""
    assert view.Kdamond().schemes[2].action.path == "contexts/0/schemes/2/action"
    assert view.Kdamonds()[1].targets.count.path == "1/contexts/0/targets/nr_targets"
    assert view.Scheme(path="base").quota.size.path == "base/quotas/bytes"


def test_a_file_has_its_name_and_its_row() -> None:
    """A file knows what it takes; a path that is none of DAMON's has no row."""
    size = view.Kdamond().schemes[2].quota.size
    assert view.Kdamond().schemes[2].quota.name == "quotas"
    assert (size.name, size.row.ours) == ("bytes", "quota.size")
    with pytest.raises(KeyError):
        File({}, "contexts/0/made_up").row  # noqa: B018
