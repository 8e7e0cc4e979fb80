"""Metrics, scraped over loopback and read as Prometheus reads them."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.daemon.jobs.observe import KdamondSeen, Observation, ObserveJob, SchemeSeen
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import Figures, RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
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
    served = serve(lambda: FIGURES)
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


def test_the_library_is_imported_only_where_it_is_needed():
    code = "import sys, damonpolicy.daemon.app; print('prometheus_client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
