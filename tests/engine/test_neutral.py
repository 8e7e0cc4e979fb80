"""A service's fed goals count as reached once it has ended, however it ended."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from damonpolicy.base.errors import Busy
from damonpolicy.daemon.app import serve
from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.scheduler import Service
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.lock import SERVICE, exclusive
from damonpolicy.engine.neutral import rest
from damonpolicy.engine.recover import main
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.conftest import ROOT
from tests.daemon.conftest import Desk
from tests.daemon.jobs.test_feed import GOAL, POLICY
from tests.world import STAT_OFF, World

TARGET = "10000"
SECONDS = 60


@pytest.fixture(params=["6.12", "7.3"])
def fed(request, tmp_path, public_place):
    """A desk whose service has fed a number far below the target."""
    world = World.make(request.param)
    if world.machine.exists(STAT_OFF):
        world.write(STAT_OFF, "N")
    made = Desk(world, tmp_path / "policies")
    made.score = public_place / "score"
    made.score.write_text("0.01\n")
    made.put("p.yaml", POLICY.format(file=made.score))
    assert made.rest().kind == "applied"
    made.job = FeedJob(made.keeper)
    made.job.run()
    assert kernel(made) == "100"
    yield made
    assert not world.machine.poisoned
    world.close()


def kernel(desk):
    """The number that the kernel goes by, which is not what is staged."""
    goals = desk.world.machine.running(0)["schemes"]["0"]["quotas"]["goals"]
    return goals["0"]["current_value"]


def test_the_kernel_tunes_no_more_by_what_nobody_feeds(fed):
    assert rest(fed.world.machine, fed.world.places) == ["fed/k"]

    assert kernel(fed) == TARGET
    assert fed.read(GOAL) == TARGET


def test_what_was_staged_and_not_handed_over_is_handed_over(fed):
    """As by a service that was killed between its write and its command."""
    fed.world.write(GOAL, TARGET)
    assert kernel(fed) == "100"
    rest(fed.world.machine, fed.world.places)

    assert kernel(fed) == TARGET


def test_the_service_does_so_when_it_ends(fed, monkeypatch):
    monkeypatch.setattr(Service, "run", lambda service, ready: service.step())
    serve(fed.world.machine, fed.world.places, [str(fed.directory)])

    assert kernel(fed) == TARGET


def test_what_somebody_else_has_staged_is_not_handed_over_with_it(fed):
    path = GOAL.replace("current_value", "target_value")
    fed.world.write(path, "5")
    assert rest(fed.world.machine, fed.world.places) == []

    assert kernel(fed) == "100"
    assert fed.read(path) == "5"


def test_policies_applied_by_hand_are_fed_by_others(fed):
    assert rest(fed.world.machine, fed.world.places, "hand") == []
    assert kernel(fed) == "100"


def test_a_kdamond_that_does_not_take_it_is_told(fed):
    def refuses(_, path, text):
        if text == "commit_schemes_quota_goals":
            raise OSError(22, "Invalid argument")

    fed.world.machine.before_write = refuses
    with pytest.raises(Busy, match="keep their last number"):
        rest(fed.world.machine, fed.world.places)
    fed.world.machine.before_write = None


def test_someone_elses_kdamond_in_its_place_is_left_alone(fed):
    fed.world.write("0/state", "off")
    before = len(fed.world.machine.log)
    assert rest(fed.world.machine, fed.world.places) == []

    assert len(fed.world.machine.log) == before


@pytest.fixture
def killed(tmp_path, public_place):
    """A service on an emulated machine, killed after it had fed a number."""
    state, policies, score = tmp_path / "state", tmp_path / "policies", public_place / "score"
    policies.mkdir()
    score.write_text("0.01")
    (policies / "p.yaml").write_text(
        POLICY.format(file=score) + "modules: {damon_stat: {enabled: false}}\n"
    )
    options = ("--kernel", "emulated:7.3", "--state-dir", str(state))
    path = state / "run" / "service.json"
    with (tmp_path / "log").open("w") as stream:
        service = subprocess.Popen(
            [sys.executable, "-m", "damonpolicy", *options, "run", str(policies)],
            stdout=subprocess.DEVNULL, stderr=stream,
        )  # fmt: skip
    world = None
    try:
        end = time.monotonic() + SECONDS
        while world is None or kernel_of(world) != "100":
            assert service.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.02)
            if path.exists():
                world = World(EmulatedMachine.create("7.3", store=state / "machine"), state)
    finally:
        service.kill()
        service.wait()
    return world, options


def kernel_of(world):
    runs = world.machine.running(0)
    return runs and runs["schemes"]["0"]["quotas"]["goals"]["0"].get("current_value")


def test_after_sigkill_the_rescue_does_so_with_python_alone(killed):
    world, options = killed
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r});"
        " from damonpolicy.engine.recover import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *options, "--neutral"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "")
    assert "goals of fed/k count as reached" in done.stderr
    assert kernel_of(world) == TARGET


def test_goals_of_a_service_that_runs_are_its_own(killed, capsys):
    world, options = killed
    with exclusive(world.places.service_lock, wait=False, held=SERVICE):
        main([*options, "--neutral"])
    assert "goals are left alone: another service" in capsys.readouterr().err
    assert kernel_of(world) == "100"
    main([*options, "--neutral"])

    assert kernel_of(world) == TARGET
    assert world.machine.read(f"{KDAMONDS}/0/state") == "on\n"
