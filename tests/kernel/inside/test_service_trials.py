"""The service on a real kernel, briefly: `python -m tests.kernel.service` shows the same at length."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

from .editing import edited
from .following import Crowd, followed
from .killing import killed
from .policy import has, wait_for
from .pressure import commit, goal, let_pass, stalled, stalling
from .served import SECONDS, content, serving


def test_an_edit_is_committed_as_soon_as_it_has_rested(tmp_path: Path) -> None:
    """With the same kdamond, and within three bare commits and a sampling interval."""
    with serving(tmp_path) as service:
        found = edited(service, 5)

    assert statistics.median(found.lags) < found.bound, found


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
    assert statistics.median(crowd.waits) < 2, crowd.waits


def test_a_killed_service_leaves_a_policy_and_comes_back(tmp_path: Path) -> None:
    """Of before or after, with the kdamond that runs."""
    killed(tmp_path, 3, random.Random(5))


def test_a_commit_keeps_the_base_of_a_goal_on_pressure() -> None:
    """With commits much faster than its windows a goal rises and falls as without.

    Were the base set to now, pressure would look smaller, and the quota of a goal that is
    over its target grow; were it set to zero, it would look like that of all time since boot,
    and no quota grow. The kernel itself counts pressure anew each 2 s (kernel/sched/psi.c,
    PSI_FREQ): in between it looks like none, and three of four windows are fed with that.
    """
    if not has("quota.goal.some_mem_psi_us"):
        return
    window = 500_000
    with stalling():
        over, under = round(window / 1.4), 5 * window
        while stalled() < 3 * under:
            let_pass(1)
        assert max(_grown(over)) <= 16, "three windows of none, then one of far too much"
        assert _grown(under)[-1] >= 64


def _grown(target: int) -> list[int]:
    """What is allowed in each of ten windows with five commits each."""
    found = []
    with goal(target) as allowed:
        for _ in range(10):
            for _ in range(5):
                let_pass(0.2)
                commit()
            found.append(allowed())
    return found
