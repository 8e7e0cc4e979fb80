"""The service's record: what its job writes is what commands take."""

from __future__ import annotations

from dataclasses import fields

import pytest

from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.daemon.record import Record, check
from damonpolicy.engine.state_directory import read_json
from tests.daemon.conftest import settings


@pytest.fixture
def written(desk):
    """The record of a service that has applied a policy and looked at it."""
    desk.put("p.yaml", settings(pages=200))
    desk.rest()
    keeper = desk.keeper
    observe = ObserveJob(keeper, Repairer(keeper))
    observe.run()
    jobs = (Follower(keeper), FeedJob(keeper), TuneJob(keeper), observe)
    RecordJob(desk.reloader, *jobs).run()
    return read_json(desk.world.places.service)


def test_a_written_record_is_taken_whole(written):
    assert list(written) == [each.name for each in fields(Record)]
    check(written)


@pytest.mark.parametrize("each", fields(Record), ids=lambda each: each.name)
def test_only_what_an_older_service_did_not_write_may_be_missing(written, each):
    del written[each.name]
    if each.metadata or each.name == "reload":
        check(written)
    else:
        with pytest.raises(ValueError, match=each.name):
            check(written)


def test_a_newer_service_may_say_more(written):
    check({**written, "weather": "fine"})
