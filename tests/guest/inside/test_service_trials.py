"""The service on a real kernel, briefly: what it does, not how soon.

`python -m tests.guest.service` does the same at length, and measures.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .editing import DEBOUNCE, edited
from .following import Crowd, followed
from .killing import killed
from .policy import has, wait_for
from .pressure import commit, goal, let_pass, stalled, stalling
from .served import SECONDS, content, serving


@pytest.mark.once
def test_each_edit_is_committed_once_it_has_rested(tmp_path: Path) -> None:
    """With the same kdamond, and not at once: how soon is measured by the long form alone."""
    with serving(tmp_path) as service:
        found = edited(service, 3)

    assert len(found.lags) == 3
    assert min(found.lags) > -DEBOUNCE / 2, found


def test_processes_are_followed_and_none_is_taken_for_another(tmp_path: Path) -> None:
    """They join and leave; a pid that a stranger got is looked up by no commit."""
    with serving(tmp_path) as service:
        crowd = Crowd(tmp_path, random.Random(3))
        try:
            followed(service, crowd, 10)
        finally:
            crowd.end()
        assert wait_for(lambda: content("0/state") == "off", SECONDS), "nobody is left"

    assert crowd.lookups, "the kernel told which pids commits look up"
    assert crowd.reused
    assert crowd.wrong == []
    assert crowd.began == {}, "all were joined"
    assert crowd.waits


@pytest.mark.once
def test_a_killed_service_leaves_a_policy_and_comes_back(tmp_path: Path) -> None:
    """Of before or after, with the kdamond that runs."""
    killed(tmp_path, 3, random.Random(5))


def test_a_goal_on_pressure_lives_with_commits_as_far_apart_as_the_service_s() -> None:
    """A commit in each three windows (policy/compile/quotas.py) lets the quota grow where no task waits.

    Were the goal to compare with zero, it would see all that was waited for since boot, and fall.
    """
    if not has("quota.goal.some_mem_psi_us"):
        return
    target = 100_000
    with stalling():
        pass
    assert stalled() > 3 * target
    found, forgets = [], False
    with goal(target) as allowed:
        for _ in range(8):
            let_pass(3)
            found.append(allowed())
            commit()
            forgets |= not allowed()

    if forgets:
        assert max(found) <= 8, "docs/kernel-quirks.md: a commit begins anew"
    else:
        assert max(found) >= 64, found
