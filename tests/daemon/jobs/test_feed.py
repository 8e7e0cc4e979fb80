"""Fed goals: the writes, their frequency, and failing sources."""

from __future__ import annotations

import errno
import os
import time

import pytest

from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.conftest import Desk
from tests.world import STAT_OFF, World

POLICY = """
version: 1
name: fed
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: cold
        action: pageout
        access_pattern: {{access_rate: {{max: 0%}}}}
        quota:
          size: 100MiB
          every: 1s
          goals:
            - {{metric: user_input, target: 10000, from: {{file: {file}, times: 10000}}}}
"""
GOAL = f"{KDAMONDS}/0/contexts/0/schemes/0/quotas/goals/0/current_value"


@pytest.fixture(params=["6.12", "6.18", "7.3"])
def desk(request, tmp_path):
    world = World.make(request.param)
    if world.machine.exists("/sys/module/damon_stat/parameters/enabled"):
        world.write("/sys/module/damon_stat/parameters/enabled", "N")
    made = Desk(world, tmp_path / "policies")
    made.score = tmp_path / "score"
    made.score.write_text("0.5\n")
    made.put("p.yaml", POLICY.format(file=made.score))
    assert made.rest().kind == "applied", made.reloader.outcome
    made.job = FeedJob(made.keeper)
    yield made
    assert not world.machine.poisoned
    world.close()


def feed(desk):
    """Let a window pass, and feed; returns what was written."""
    desk.world.machine.sleep(1)
    since = len(desk.world.machine.log)
    desk.job.run()
    return [(each.path.removeprefix(f"{KDAMONDS}/0/"), each.text)
            for each in desk.world.machine.log[since:]]  # fmt: skip


def test_a_change_is_one_write_and_one_command(desk):
    assert desk.read(GOAL) == "10000", "neutral until the first number"
    expected = [
        ("contexts/0/schemes/0/quotas/goals/0/current_value", "5000"),
        ("state", "commit_schemes_quota_goals"),
    ]
    assert feed(desk) == expected
    assert feed(desk) == [], "the same number is no change"
    desk.score.write_text("0.75")
    assert feed(desk)[0][1] == "7500"
    assert desk.job.writes == 2


def test_the_kernel_tunes_the_quota_by_it(desk):
    machine = desk.world.machine
    desk.score.write_text("0")
    feed(desk)
    machine.sleep(5)
    machine.write(f"{KDAMONDS}/0/state", "update_schemes_stats")
    low = desk.read(f"{KDAMONDS}/0/contexts/0/schemes/0/stats/sz_tried")
    desk.score.write_text("3")
    feed(desk)
    machine.sleep(2)
    machine.write(f"{KDAMONDS}/0/state", "update_schemes_stats")
    high = desk.read(f"{KDAMONDS}/0/contexts/0/schemes/0/stats/sz_tried")
    assert int(high) >= int(low)


def in_force(desk):
    """What the running kdamond goes by, whatever is staged."""
    schemes = desk.world.machine.running(0)["schemes"]
    return schemes["0"]["quotas"]["goals"]["0"]["current_value"]


def test_a_number_that_the_kernel_did_not_take_is_handed_over_again(desk):
    def busy(_, path, text):
        if text == "commit_schemes_quota_goals":
            raise OSError(errno.EBUSY, "busy")

    desk.world.machine.before_write = busy
    for _ in range(3):
        assert feed(desk)
        assert "commit_schemes_quota_goals" in next(iter(desk.job.troubles().values()))
        assert in_force(desk) == "10000"
    desk.world.machine.before_write = None
    assert feed(desk)[-1] == ("state", "commit_schemes_quota_goals")

    assert in_force(desk) == "5000"
    assert desk.job.troubles() == {}
    assert feed(desk) == []


class Killed(BaseException):
    """The end, at once."""


def test_so_is_one_whose_service_died_before_its_command(desk):
    def dies(_, path, text):
        if text == "commit_schemes_quota_goals":
            raise Killed

    desk.world.machine.before_write = dies
    with pytest.raises(Killed):
        feed(desk)
    desk.world.machine.before_write = None
    desk.world.recover()
    assert (desk.read(GOAL), in_force(desk)) == ("5000", "10000")
    desk.job = FeedJob(Keeper(desk.world.machine, desk.world.places, desk.keeper.paths))
    feed(desk)

    assert in_force(desk) == "5000"


def test_what_is_fed_is_no_drift_and_survives_a_change(desk):
    feed(desk)
    text = POLICY.format(file=desk.score).replace("100MiB", "200MiB")
    desk.put("p.yaml", text)
    assert desk.rest().kind == "applied"

    assert desk.read(GOAL) == "5000"
    assert feed(desk) == []


def effective(desk):
    """The quota in effect, as the kernel tunes it."""
    desk.world.machine.write(f"{KDAMONDS}/0/state", "update_schemes_effective_quotas")
    return int(desk.read(f"{KDAMONDS}/0/contexts/0/schemes/0/quotas/effective_bytes"))


def test_by_an_old_number_nobody_tunes(desk):
    """Not the kernel either, which would go on by the last one: its goal counts as reached."""
    feed(desk)
    desk.world.machine.sleep(5)
    assert effective(desk) > 1
    os.utime(desk.score, (time.time() - 1000,) * 2)
    assert feed(desk)[0][1] == "10000"
    assert "s old" in next(iter(desk.job.troubles().values()))
    before = effective(desk)
    desk.world.machine.sleep(10)
    assert effective(desk) == before
    desk.score.unlink()
    assert feed(desk) == [], "it is told once"
    desk.score.write_text("0.9")
    assert feed(desk)[0][1] == "9000"
    assert desk.job.troubles() == {}


@pytest.mark.parametrize(("text", "value"), [("-1", "0"), ("1e40", str((1 << 64) - 1))])
def test_what_the_kernel_could_not_hold_is_the_nearest_it_can(desk, text, value):
    desk.score.write_text(text)

    assert feed(desk)[0][1] == value


def test_what_somebody_staged_is_not_committed_on_the_way(desk):
    path = "contexts/0/schemes/0/quotas/goals/0/target_value"
    desk.world.machine.write(f"{KDAMONDS}/0/{path}", "1")
    assert feed(desk) == []

    assert "was changed by someone" in next(iter(desk.job.troubles().values()))


def test_it_is_read_no_more_often_than_the_quota_begins_anew(desk):
    feed(desk)
    desk.score.write_text("0.6")
    since = len(desk.world.machine.log)
    desk.job.run()

    assert len(desk.world.machine.log) == since
    assert 0.5 < desk.job.due - desk.world.machine.monotonic() <= 1


def test_by_hand_nobody_feeds_it(desk, cli, tmp_path):
    path = tmp_path / "by-hand.yaml"
    path.write_text(POLICY.format(file=desk.score))
    outcome = cli("plan", str(path), "--kernel", "emulated:7.3")

    assert "error[DP0230]" in outcome.err
    assert "`damonpolicy run` does it" in outcome.err


@pytest.fixture
def pressed(tmp_path):
    """A kdamond of 7.3, where pressure is not measured in the window of a commit."""
    world = World.make("7.3")
    world.write(STAT_OFF, "N")
    made = Desk(world, tmp_path / "policies")
    made.score = tmp_path / "score"
    made.score.write_text("0.1")
    goal = "            - {metric: some_mem_psi_us, target: 500us}\n"
    made.put("p.yaml", POLICY.format(file=made.score) + goal)
    assert made.rest().ok
    made.job = FeedJob(made.keeper)
    yield made
    world.close()


def test_feeding_leaves_a_goal_on_pressure_windows_to_measure(pressed):
    for number in range(60):
        pressed.score.write_text(f"0.1{number:02d}")
        feed(pressed)

    assert effective(pressed) == 100 << 20, "it grows as long as nothing is waited for"
    assert 18 <= pressed.job.writes <= 21


def test_who_commits_for_other_reasons_takes_turns_with_it(pressed):
    """Right after another commit is no worse: what it costs is lost already."""
    machine, keeper = pressed.world.machine, pressed.keeper
    kdamond, commits = next(keeper.kdamonds()), 0
    for number in range(60):
        pressed.score.write_text(f"0.1{number:02d}")
        machine.sleep(1)
        if keeper.ready(kdamond, machine.monotonic()) <= machine.monotonic():
            keeper.fed(kdamond.full_name)
            commits += 1
        pressed.job.run()

    assert commits >= 10
    assert pressed.job.writes >= 10
