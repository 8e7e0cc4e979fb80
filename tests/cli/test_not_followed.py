"""Processes not followed yet: from the service, through its record, to `status`."""

from __future__ import annotations

import errno
import json

import pytest

from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from tests.daemon.conftest import Desk
from tests.daemon.followed import AREA, WATCH, follow
from tests.world import STAT_OFF


@pytest.fixture
def service(site, clock, tmp_path):
    """A service that follows one process, and writes its record."""
    site.machine.write(STAT_OFF, "N")
    desk = Desk(site.world, tmp_path / "policies")
    desk.follower = follower = Follower(desk.keeper)
    observe = ObserveJob(desk.keeper, Repairer(desk.keeper))
    feed = FeedJob(desk.keeper)
    desk.record = RecordJob(desk.reloader, follower, feed, TuneJob(desk.keeper), observe)
    site.machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    assert desk.rest().kind == "applied"
    return desk


def shown(site):
    """The lines of `status` about processes that are not followed."""
    return [line for line in site.done("status").out.splitlines() if "not yet followed" in line]


def test_the_file_and_status_say_who_and_why(site, service):
    def refuses(_, path, text):
        if path.endswith("/targets/1/pid_target"):
            raise OSError(errno.ENOMEM, "no memory")

    others = [site.machine.start_process("worker", areas=[AREA]) for _ in range(7)]
    site.machine.before_write = refuses
    follow(service)
    site.machine.before_write = None
    service.record.run()
    (said,) = json.loads(site.places.service.read_text())["not_followed"]
    (line,) = shown(site)

    pids = ", ".join(map(str, others[:5]))
    assert (said["kdamond"], said["pids"], said["more"]) == ("watch/workers", others[:5], 2)
    assert "no memory" in said["why"]
    assert line == f"  not yet followed: watch/workers: pid {pids} and 2 more: {said['why']}"

    assert follow(service)
    service.record.run()
    assert shown(site) == []
