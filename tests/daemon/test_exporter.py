"""Metrics, scraped over loopback and read as Prometheus reads them."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from damonpolicy.daemon import exporter
from damonpolicy.daemon.exporter import Exporter, read_address
from damonpolicy.daemon.feed import FeedJob
from damonpolicy.daemon.figures import Figures, figures
from damonpolicy.daemon.follow import Follower
from damonpolicy.daemon.observe import KdamondSeen, Observation, ObserveJob, SchemeSeen
from damonpolicy.daemon.record import RecordJob
from damonpolicy.daemon.repair import Repairer
from damonpolicy.daemon.tune import TuneJob
from damonpolicy.errors import DamonPolicyError, ExitCode, UsageError
from damonpolicy.kernel.processes import Table
from damonpolicy.kernel.sysfs import KDAMONDS
from damonpolicy.observe.status import Drift
from tests.conftest import ROOT
from tests.daemon.test_observe import POLICY, look
from tests.world import fail_at

STATISTICS = {"nr_tried": 3, "sz_tried": 3 << 30, "sz_applied": 1 << 30, "qt_exceeds": 4}
SEEN = Observation(
    at=1000.5,
    generation=7,
    drift=(Drift("p/k (slot 0)", "state", "on", "off"),),
    kdamonds=(
        KdamondSeen("p/k", 2, 1.25, (SchemeSeen("s", STATISTICS, 5 << 20, score=6400),)),
        KdamondSeen("p/older", 1, None, (SchemeSeen("s", {"sz_tried": 5}),)),
    ),
)
FIGURES = Figures(
    reloads={"applied": 2, "invalid": 1},
    reloaded_at=900.0,
    digest="abc",
    applies=2,
    rollbacks=1,
    commits=5,
    feeds=6,
    drifts=3,
    repairs=1,
    errors={"pages": 0.25},
    observation=SEEN,
)


@pytest.fixture
def serve():
    """Start exporters; whatever happens, none is left."""
    started = []

    def starting(take=lambda: FIGURES, address="127.0.0.1:0"):
        started.append(Exporter(address, take))
        return started[-1]

    yield starting
    for each in started:
        each.stop()


def scrape(served, host="127.0.0.1"):
    """Return samples as `name{label=value,…}`."""
    with urllib.request.urlopen(f"http://{host}:{served.port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_everything_that_is_told(serve):
    served = serve()
    served.publish()

    assert scrape(served) == {
        "damonpolicy_up": 1,
        "damonpolicy_reloads_total{result=applied}": 2,
        "damonpolicy_reloads_total{result=unchanged}": 0,
        "damonpolicy_reloads_total{result=invalid}": 1,
        "damonpolicy_reloads_total{result=failed}": 0,
        "damonpolicy_reloads_total{result=gone}": 0,
        "damonpolicy_applies_total": 2,
        "damonpolicy_rollbacks_total": 1,
        "damonpolicy_follow_commits_total": 5,
        "damonpolicy_feed_writes_total": 6,
        "damonpolicy_drifts_total": 3,
        "damonpolicy_repairs_total": 1,
        "damonpolicy_last_reload_success_timestamp_seconds": 900,
        "damonpolicy_policies_info{digest=abc}": 1,
        "damonpolicy_loop_error_ratio{loop=pages}": 0.25,
        "damonpolicy_generation": 7,
        "damonpolicy_drift_files": 1,
        "damonpolicy_last_observation_timestamp_seconds": 1000.5,
        "damonpolicy_targets{kdamond=p/k}": 2,
        "damonpolicy_targets{kdamond=p/older}": 1,
        "damonpolicy_kdamond_cpu_seconds_total{kdamond=p/k}": 1.25,
        "damonpolicy_scheme_tried_bytes_total{kdamond=p/k,scheme=s}": 3 << 30,
        "damonpolicy_scheme_tried_bytes_total{kdamond=p/older,scheme=s}": 5,
        "damonpolicy_scheme_applied_bytes_total{kdamond=p/k,scheme=s}": 1 << 30,
        "damonpolicy_scheme_quota_exceeds_total{kdamond=p/k,scheme=s}": 4,
        "damonpolicy_scheme_effective_quota_bytes{kdamond=p/k,scheme=s}": 5 << 20,
        "damonpolicy_scheme_goal_ratio{kdamond=p/k,scheme=s}": 0.64,
    }


def test_before_anything_was_seen(serve):
    found = scrape(serve())

    assert found["damonpolicy_up"] == 1
    assert not [name for name in found if "generation" in name or "timestamp" in name]


def test_it_shows_what_was_published_last(serve):
    counts = iter([1, 2])
    served = serve(lambda: Figures(applies=next(counts)))
    served.publish()
    assert scrape(served)["damonpolicy_applies_total"] == 1
    assert scrape(served)["damonpolicy_applies_total"] == 1
    served.publish()
    assert scrape(served)["damonpolicy_applies_total"] == 2


def test_of_a_service(desk, serve):
    """A reload, a bad one, drift, a failed repair, and one that comes to its end."""
    world = desk.world
    observe = ObserveJob(desk.keeper, world.places, Repairer(desk.reloader))
    follower = Follower(desk.reloader, desk.keeper, Table(world.machine))
    feed, tune = FeedJob(desk.keeper, world.places, desk.reloader.spacing), TuneJob(follower)
    record = RecordJob(desk.reloader, follower, feed, tune, observe)
    served = serve(lambda: figures(record, lambda: {"loop": 0.5}))
    observe.told, desk.job = served.publish, observe
    desk.put("r.yaml", POLICY.replace("name: r", "name: r\non_drift: repair"))
    record.count(desk.rest())
    digest = desk.reloader.outcome.digest
    desk.put("q.yaml", "version: 1\n")
    record.count(desk.rest())
    world.machine.sleep(20)
    look(desk)
    found = scrape(served)
    assert found["damonpolicy_reloads_total{result=applied}"] == 1
    assert found["damonpolicy_reloads_total{result=invalid}"] == 1
    assert found["damonpolicy_applies_total"] == 1
    assert found[f"damonpolicy_policies_info{{digest={digest}}}"] == 1, "the last good one"
    assert found["damonpolicy_generation"] == 1
    assert found["damonpolicy_drift_files"] == 0
    assert found["damonpolicy_loop_error_ratio{loop=loop}"] == 0.5
    tried = int(desk.read(f"{KDAMONDS}/0/contexts/0/schemes/1/stats/sz_tried"))
    assert found["damonpolicy_scheme_tried_bytes_total{kdamond=r/k,scheme=seen}"] == tried > 0

    world.write("0/contexts/0/monitoring_attrs/intervals/sample_us", "7000")
    world.machine.sleep(20)
    fail_at(world.machine, 4)
    observe.run()
    world.machine.before_write = None
    found = scrape(served)
    assert found["damonpolicy_rollbacks_total"] == 1
    assert found["damonpolicy_drift_files"] == found["damonpolicy_drifts_total"] == 1
    for _ in range(6):
        look(desk)
    found = scrape(served)
    assert found["damonpolicy_repairs_total"] == 1
    assert found["damonpolicy_drift_files"] == 0
    assert found["damonpolicy_drifts_total"] == 1


def test_a_failed_reload_is_a_rollback(desk):
    desk.put("r.yaml", POLICY)
    fail_at(desk.world.machine, 5)
    outcome = desk.reloader.look()

    assert outcome.kind == "failed"
    assert desk.reloader.tally.rollbacks == 1
    assert desk.reloader.tally.applies == 0


def test_a_client_that_says_nothing_holds_nobody_up(serve, monkeypatch):
    monkeypatch.setattr(exporter, "_SECONDS", 0.2)
    served = serve()
    silent = [
        socket.create_connection(("127.0.0.1", served.port), timeout=30)
        for _ in range(exporter._CLIENTS)
    ]
    for each in silent:
        assert each.recv(1) == b"", "it is hung up on"
        each.close()

    assert scrape(served)["damonpolicy_up"] == 1


def test_only_so_many_are_served_at_a_time(serve):
    served = serve()
    held = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(exporter._CLIENTS)]
    with pytest.raises((urllib.error.URLError, OSError)):
        scrape(served)
    for each in held:
        each.close()


def test_a_port_that_is_taken(serve):
    served = serve()
    with pytest.raises(DamonPolicyError) as caught:
        serve(address=f"127.0.0.1:{served.port}")

    assert caught.value.exit_code == ExitCode.FAILED
    assert "already in use" in caught.value.message
    assert "--metrics" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [(":9797", ("127.0.0.1", 9797)), ("9797", ("127.0.0.1", 9797)),
     ("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:9797", ("::1", 9797)), ("[::]:0", ("::", 0))],
)  # fmt: skip
def test_addresses(text, expected):
    assert read_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "host:1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", ":-1"]
)
def test_what_is_no_address(text):
    with pytest.raises(UsageError):
        read_address(text)


def test_the_library_is_imported_only_where_it_is_needed():
    code = "import sys, damonpolicy.daemon.serve; print('prometheus_client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
