"""Metrics of a service on a machine: sleeping schemes, and the kernel's modules."""

from __future__ import annotations

import pytest

from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.daemon.metrics import Exporter
from tests.daemon.jobs.test_observe import look
from tests.daemon.test_metrics import scrape

WATERMARKS = """
version: 1
name: r
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: sleeps
        action: stat
        watermarks: {metric: free_mem_rate, every: 5s, high: 30%, mid: 20%, low: 10%}
      - name: wakes
        action: stat
        watermarks: {metric: free_mem_rate, every: 5s, high: 60%, mid: 50%, low: 10%}
      - {name: always, action: stat}
"""
MODULE = """
version: 1
name: r
modules:
  damon_reclaim: {enabled: true, wmarks_high: HIGH, wmarks_mid: MID, wmarks_low: 10%}
"""


@pytest.fixture
def scraped(desk):
    """Apply a policy as a service does, let it look, and return what it exports."""
    observe = ObserveJob(desk.keeper, Repairer(desk.keeper))
    follower = Follower(desk.keeper)
    feed = FeedJob(desk.keeper)
    record = RecordJob(desk.reloader, follower, feed, TuneJob(desk.keeper), observe)
    served = Exporter("127.0.0.1:0", record.figures)
    observe.told, desk.job = served.publish, observe

    def scraped(policy):
        desk.put("r.yaml", policy)
        assert desk.rest().ok, desk.reloader.outcome
        look(desk)
        return scrape(served)

    yield scraped
    served.stop()


def test_a_service_tells_which_schemes_sleep_and_how_much_memory_is_free(desk, scraped):
    found = scraped(WATERMARKS)

    name = "damonpolicy_scheme_asleep"
    assert {key: value for key, value in found.items() if key.startswith(name)} == {
        f"{name}{{kdamond=r/k,scheme=sleeps}}": 1, f"{name}{{kdamond=r/k,scheme=wakes}}": 0
    }  # fmt: skip
    lines = desk.read("/proc/meminfo").splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines}
    free = sizes["MemFree:"] * 1_000 // sizes["MemTotal:"] / 1_000
    assert found["damonpolicy_free_memory_ratio"] == free > 0


@pytest.mark.parametrize(("high", "mid", "asleep"), [("30%", "20%", 1), ("60%", "50%", 0)])
def test_a_service_tells_what_modules_of_the_kernel_do(
    desk, scraped, monkeypatch, high, mid, asleep
):
    machine, parameter = desk.world.machine, "bytes_reclaimed_regions"
    path, read = f"/sys/module/damon_reclaim/parameters/{parameter}", machine.read
    # the emulated kernel's modules count nothing
    monkeypatch.setattr(machine, "read", lambda each: "8192\n" if each == path else read(each))
    found = scraped(MODULE.replace("HIGH", high).replace("MID", mid))

    module = "module=damon_reclaim"
    assert found[f"damonpolicy_module_asleep{{{module}}}"] == asleep
    assert found[f"damonpolicy_module_figure{{{module},parameter={parameter}}}"] == 8192
    assert found[f"damonpolicy_module_figure{{{module},parameter=nr_quota_exceeds}}"] == 0
