"""Metrics, scraped over loopback and read as Prometheus reads them."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from damonpolicy.base.errors import DamonPolicyError, ExitCode, UsageError
from damonpolicy.daemon import endpoint, metrics
from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.daemon.jobs.observe import KdamondSeen, Observation, ObserveJob, SchemeSeen
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import Figures, RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.daemon.metrics import Exporter, read_address
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.observe.collect.modules import ModuleStatus
from damonpolicy.observe.status.document import Drift
from damonpolicy.observe.watermarks import Watch
from tests.conftest import ROOT
from tests.daemon.jobs.test_observe import POLICY, look
from tests.world import fail_at

STATISTICS = {"nr_tried": 3, "sz_tried": 3 << 30, "sz_applied": 1 << 30, "qt_exceeds": 4}
SEEN = Observation(
    at=1000.5,
    generation=7,
    drift=(Drift("p/k (slot 0)", "state", "on", "off"),),
    kdamonds=(
        KdamondSeen(
            "p/k", 2, 1.25,
            (SchemeSeen("s", STATISTICS, 5 << 20, score=6400, watch=Watch(620, 500, 400, 200)),),
        ),
        KdamondSeen(
            "p/older", 1, None, (SchemeSeen("s", {"sz_tried": 5}, watch=Watch(620, 700, 600, 200)),)
        ),
    ),
    free=620,
    modules=(
        ModuleStatus("damon_reclaim", Watch(620, 700, 650, 200), {"nr_quota_exceeds": 4}),
        ModuleStatus("damon_stat", None, {}, [each * 1_000 for each in range(101)]),
    ),
)  # fmt: skip
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
    reload_ok=True,
    in_force=False,
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
        "damonpolicy_last_reload_successful": 1,
        "damonpolicy_in_force": 0,
        "damonpolicy_free_memory_ratio": 0.62,
        "damonpolicy_scheme_asleep{kdamond=p/k,scheme=s}": 1,  # of the other it is not known
        "damonpolicy_module_asleep{module=damon_reclaim}": 0,
        "damonpolicy_module_figure{module=damon_reclaim,parameter=nr_quota_exceeds}": 4,
        **{
            f"damonpolicy_module_idle_seconds{{module=damon_stat,percentile={each}}}": each
            for each in (0, 25, 50, 75, 100)
        },
    }


def test_before_anything_was_seen(serve):
    found = scrape(serve())

    assert found["damonpolicy_up"] == 1
    unknown = ("generation", "timestamp", "in_force", "successful")
    assert not [name for name in found if any(each in name for each in unknown)]


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
    observe = ObserveJob(desk.keeper, Repairer(desk.keeper))
    follower = Follower(desk.keeper)
    feed, tune = FeedJob(desk.keeper), TuneJob(desk.keeper)
    record = RecordJob(desk.reloader, follower, feed, tune, observe)
    served = serve(lambda: replace(record.figures(), errors={"loop": 0.5}))
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
    assert found["damonpolicy_last_reload_successful"] == found["damonpolicy_in_force"] == 0
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


def test_in_force_is_told_until_the_machine_is_under_its_files_again(desk, serve):
    """Not for a quarter of an hour after a reload that failed."""
    world = desk.world
    observe = ObserveJob(desk.keeper, Repairer(desk.keeper))
    follower = Follower(desk.keeper)
    feed, tune = FeedJob(desk.keeper), TuneJob(desk.keeper)
    record, desk.job = RecordJob(desk.reloader, follower, feed, tune, observe), observe

    def seen():
        look(desk)
        found = record.figures()
        return found.reload_ok, found.in_force

    assert seen() == (None, None)
    desk.put("r.yaml", POLICY)
    record.count(desk.rest())
    assert seen() == (True, True)
    world.write("0/contexts/0/monitoring_attrs/intervals/sample_us", "7000")
    assert seen() == (True, False)
    world.write("0/contexts/0/monitoring_attrs/intervals/sample_us", "5000")
    desk.put("q.yaml", "version: 1\n")
    record.count(desk.rest())
    assert seen() == (False, False)
    world.machine.sleep(3600)
    assert seen() == (False, False)
    (desk.directory / "q.yaml").unlink()
    record.count(desk.rest())
    assert seen() == (True, True)
    observe.trouble = "nobody answers"
    assert record.figures().in_force is None


def test_a_failed_reload_is_a_rollback(desk):
    desk.put("r.yaml", POLICY)
    fail_at(desk.world.machine, 5)
    outcome = desk.reloader.look()

    assert outcome.kind == "failed"
    assert desk.keeper.rollbacks == 1
    assert desk.reloader.applies == 0


def connect(served):
    return socket.create_connection(("127.0.0.1", served.port), timeout=30)


def ask(served, request):
    """Return the status and the whole answer to what is sent."""
    with connect(served) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return int(answer.split(b" ")[1]), answer


def test_some_of_them_can_be_asked_for(serve):
    served = serve()
    url = f"http://127.0.0.1:{served.port}/metrics?name[]=damonpolicy_up"
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert "version=0.0.4" in answer.headers["Content-Type"]
        assert answer.read().decode().splitlines()[-1] == "damonpolicy_up 1.0"


def test_an_answer_is_packed_where_the_client_can_unpack_it(serve):
    _, answer = ask(serve(), b"GET / HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")

    assert b"Content-Encoding: gzip" in head
    assert b"damonpolicy_up 1.0" in gzip.decompress(body)


def test_head_tells_the_length_alone(serve):
    served = serve()
    _, whole = ask(served, b"GET /metrics HTTP/1.1\r\n\r\n")
    status, head = ask(served, b"HEAD /metrics HTTP/1.1\r\n\r\n")

    assert status == 200
    assert whole.partition(b"\r\n\r\n")[0] == head.partition(b"\r\n\r\n")[0]
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET //[ HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\n\n", 200),
        (b"GET /?%ff&name[]=\xff HTTP/1.1\r\nAccept: \xff;q=x,;;,\r\n\r\n", 200),
    ],
)
def test_what_is_no_request_is_answered_and_the_next_one_as_well(serve, request_, status):
    served = serve()

    assert ask(served, request_)[0] == status
    assert scrape(served)["damonpolicy_up"] == 1


def test_what_cannot_be_told_ends_nobody_else(serve, monkeypatch):
    served = serve()

    def broken(accept):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(metrics, "choose_encoder", broken)
        assert ask(served, b"GET / HTTP/1.1\r\n\r\n")[0] == 500
    assert scrape(served)["damonpolicy_up"] == 1


@pytest.mark.parametrize("drip", [b"", b"G"], ids=["silent", "a byte now and then"])
def test_a_client_that_never_comes_to_the_point_is_hung_up_on(serve, monkeypatch, drip):
    monkeypatch.setattr(endpoint, "_ASKING", 0.3)
    with connect(serve()) as client:
        client.settimeout(0.02)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                client.sendall(drip)
                if client.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it is still there")


@pytest.mark.parametrize("many", [50, 200])
def test_a_scrape_is_answered_beside_many_slow_clients(serve, many):
    served = serve()
    slow = []
    try:
        for _ in range(many):
            slow.append(connect(served))
            slow[-1].sendall(b"GET /met")
        begin = time.monotonic()
        assert scrape(served)["damonpolicy_up"] == 1
        assert time.monotonic() - begin < 2
    finally:
        for each in slow:
            each.close()


def test_who_came_first_makes_room(serve, monkeypatch):
    monkeypatch.setattr(endpoint, "_CLIENTS", 3)
    monkeypatch.setattr(endpoint, "_ASKING", 30.0)
    served = serve()
    held = [connect(served) for _ in range(4)]
    try:
        assert held[0].recv(1) == b""
        held[1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert held[1].recv(12) == b"HTTP/1.1 200"
    finally:
        for each in held:
            each.close()


def test_an_answer_that_nobody_takes_ends(monkeypatch):
    monkeypatch.setattr(endpoint, "_TAKING", 0.2)
    served = endpoint.Endpoint("127.0.0.1", 0, lambda _: endpoint.Answer(bytes(32 << 20)))
    try:
        with connect(served) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert client.recv(8) == b"HTTP/1.1"
            while served._clients:  # whoever comes meanwhile is answered
                assert ask(served, b"PUT / HTTP/1.1\r\n\r\n")[0] == 405
    finally:
        served.stop()


def test_no_connection_is_left_behind():
    before = os.listdir("/proc/self/fd")
    served = Exporter("127.0.0.1:0", lambda: FIGURES)
    for _ in range(3):
        scrape(served)
        connect(served).close()
    with connect(served):
        served.stop()
    with pytest.raises(OSError, match="refused"):
        connect(served)
    assert os.listdir("/proc/self/fd") == before


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
    code = "import sys, damonpolicy.daemon.app; print('prometheus_client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
