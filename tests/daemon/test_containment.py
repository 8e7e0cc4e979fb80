"""A job's error does not end the service: it is reported and counted, and the job is retried."""

from __future__ import annotations

import errno
import random
from contextlib import closing
from itertools import pairwise

import pytest

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower, FollowJob
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.jobs.reload import Reloader, ReloadJob
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.scheduler import Service, Wake
from damonpolicy.engine.state_directory import read_json
from tests.crash.test_service_sigkill import FED, PACE, STEADY, WATCH
from tests.daemon.conftest import PAGES, RUN
from tests.daemon.faulty import Faulty
from tests.daemon.followed import AREA, watched

ERRORS = (
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ENOENT, "No such file or directory"),
    PermissionError(errno.EACCES, "Permission denied"),
    RuntimeError("nobody expected this"),
)


@pytest.fixture
def events():
    told = []
    log.set_sink(lambda level, event, values: told.append((event, values)))
    yield told
    log._sinks.clear()


class Served:
    """A service that does everything it can, on a machine that may fail."""

    def __init__(self, world, directory):
        self.world, self.directory, self.score = world, directory / "policies", directory / "score"
        self.directory.mkdir()
        self.score.write_text("500")
        self.machine = Faulty(world.machine)
        for name, text in (("steady", STEADY), ("fed", FED), ("watch", WATCH), ("pace", PACE)):
            (self.directory / f"{name}.yaml").write_text(text.replace("SCORE", str(self.score)))
        keeper = Keeper(self.machine, world.places, [str(self.directory)])
        reloader = Reloader(keeper, debounce=0.2)
        follow = FollowJob(Follower(keeper))
        feed, tune = FeedJob(keeper), TuneJob(keeper)
        observe = ObserveJob(keeper, Repairer(keeper), every=5.0)
        self.record = RecordJob(reloader, follow.follower, feed, tune, observe)
        self.reload = ReloadJob(reloader)
        jobs = [self.reload, follow, tune, feed, observe, self.record]
        self.wake = Wake()
        self.service = Service(world.machine, self.wake, jobs)
        self.record.guards = self.service.guards
        self.workers = [world.machine.start_process("worker", areas=[AREA])]

    def step(self, seconds=0.0):
        self.world.machine.sleep(seconds)
        self.reload.hint()
        self.service.step()

    def change(self, number):
        """Give every job something to do."""
        machine = self.world.machine
        self.workers.append(machine.start_process("worker", areas=[AREA]))
        if len(self.workers) > 3:
            machine.exit_process(self.workers.pop(0))
        self.score.write_text(str(300 + number % 300))
        text = FED.replace("100MiB", f"{100 + number}MiB").replace("SCORE", str(self.score))
        (self.directory / "fed.yaml").write_text(text)
        machine.sleep(5)

    def rests(self, size):
        """Whether everything is as it shall be."""
        slot = {each: self.world.managed.slot_of(f"{each}/{kdamond}")
                for each, kdamond in (("fed", "k"), ("watch", "workers"))}  # fmt: skip
        base = f"/sys/kernel/mm/damon/admin/kdamonds/{slot['fed']}/contexts/0/schemes/0/quotas"
        return (
            watched(self, slot["watch"]) == set(self.workers)
            and self.world.machine.read(f"{base}/bytes") == f"{size << 20}\n"
            and self.world.machine.read(f"{base}/goals/0/current_value")
            == self.score.read_text() + "\n"
            and self.world.machine.read(RUN) == "1\n"
            and not any(each.trouble for each in self.service.guards.values())
        )


@pytest.fixture
def served(world, tmp_path):
    made = Served(world, tmp_path)
    with closing(made.wake):
        yield made


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__ + str(error)[:9])
def test_a_fault_at_any_step_of_any_job_ends_nothing(served, error):
    """One call of a round fails, any of them; some rounds later everything is as it shall be."""
    chance = random.Random(str(error))
    served.step()
    for number in range(1, 25):
        served.change(number)
        served.machine.arm(-1, None)
        served.step()
        served.step(0.2)
        calls = served.machine.calls
        served.change(100 + number)
        served.machine.arm(chance.randrange(calls), error)
        served.step()
        served.step(0.2)
        for _ in range(60):
            if served.rests(200 + number):
                break
            served.step(1)
        else:
            pytest.fail(f"{number}: {served.service.guards} {served.record._record()}")
    assert not served.world.places.journal.exists()


class Failing:
    """A job that raises."""

    readable = None

    def __init__(self, error, due=0.0):
        self.error, self.due, self.times = error, due, 0

    def run(self):
        self.times += 1
        if self.error is not None:
            raise self.error
        self.due = float("inf")


class Other(Failing):
    """One that goes well."""


def test_a_job_that_fails_is_tried_again_less_and_less_often(world, events):
    failing, other = Failing(ValueError("broken")), Other(None)
    with closing(Wake()) as wake:
        service = Service(world.machine, wake, [failing, other])
        tried = []
        for _ in range(400):
            before = failing.times
            service.step()
            if failing.times > before:
                tried.append(world.machine.monotonic())
            world.machine.sleep(0.5)
        pauses = [round(after - before) for before, after in pairwise(tried)]
        assert pauses[:6] == [1, 2, 4, 8, 16, 32]
        assert set(pauses[6:]) == {60}
        assert other.times == 1, "what goes well is not held up"
        assert len([each for each in events if each[0] == "job failed"]) == 1, "told once"
        assert (
            "a defect of damonpolicy: ValueError at test_containment.py" in events[0][1]["reason"]
        )
        failing.error = None
        world.machine.sleep(60)
        service.step()
        assert service.guards["failing"].trouble == ""
        assert events[-1] == ("job works again", {"job": "failing", "failures": len(tried)})


@pytest.mark.parametrize(
    "error", [DamonPolicyError("told"), OSError(errno.EIO, "I/O"), KeyError("x")]
)
def test_what_makes_a_job_due_may_fail_too(world, error):
    class Unreadable(Failing):
        @property
        def readable(self):
            raise error

    rounds = []

    class Last(Failing):
        def run(self):
            rounds.append(1)
            if len(rounds) > 3:
                service.stop()

    with closing(Wake()) as wake:
        service = Service(world.machine, wake, [Unreadable(None), Last(None)])
        service.run()

    assert len(rounds) == 4
    assert service.guards["unreadable"].failures >= 1


def test_status_and_metrics_tell_of_a_job_that_fails(served, monkeypatch):
    def breaks(*_, **__):
        raise ZeroDivisionError("deliberately")

    monkeypatch.setattr(Follower, "look", breaks)
    served.step()
    served.step(5)
    said = read_json(served.world.places.service)["jobs"]

    assert list(said) == ["follow"]
    assert said["follow"]["failures"] == served.record.figures().failures["follow"] >= 1
    assert "ZeroDivisionError" in said["follow"]["trouble"]


def test_a_defect_in_one_policy_keeps_no_other_from_being_followed(served, monkeypatch):
    served.step()
    real = Follower._differs

    def breaks(follower, managed, kdamond, everything):
        if kdamond.full_name == "steady/k":
            raise ZeroDivisionError
        return real(follower, managed, kdamond, everything)

    monkeypatch.setattr(Follower, "_differs", breaks)
    served.workers.append(served.world.machine.start_process("worker", areas=[AREA]))
    served.step(2)

    assert watched(served, served.world.managed.slot_of("watch/workers")) == set(served.workers)
    assert "ZeroDivisionError" in served.record._record().following


def test_what_a_reload_meets_is_its_outcome_and_the_last_good_policies_stay(served, monkeypatch):
    served.step()
    before = served.world.machine.read(PAGES)
    from damonpolicy.daemon.jobs import reload

    def breaks(*_, **__):
        raise RecursionError("deeper than anybody thought")

    monkeypatch.setattr(reload, "load", breaks)
    (served.directory / "new.yaml").write_text("version: 1\nname: new\n")
    for _ in range(3):
        served.step(0.3)
    outcome = served.reload.reloader.outcome
    assert outcome.kind == "failed"
    assert "RecursionError" in outcome.message
    assert served.world.machine.read(PAGES) == before
    monkeypatch.undo()
    (served.directory / "new.yaml").unlink()
    for _ in range(8):
        served.step(1)

    assert served.reload.reloader.outcome.ok
