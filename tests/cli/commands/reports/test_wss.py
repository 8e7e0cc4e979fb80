"""`report wss`: of what runs, and of records."""

from __future__ import annotations

import json

from tests.conftest import ROOT


def test_working_sets(looked):
    text = looked.done("report", "wss", "--scheme", "all").out
    found = looked.json("report", "wss", "--scheme", "all")["data"]["working_sets"][0]

    assert "288MiB working set" in text
    assert found["percentiles"][-1] == {"percent": 100, "bytes": 288 << 20}


def test_a_working_set_is_that_of_all_regions(cold):
    whole = cold.done("report", "wss")

    assert "look/vms: 288MiB working set" in whole.out
    assert "DP0632" not in whole.err
    assert "0B working set" in cold.done("report", "wss", "--scheme", "cold").out
    assert "DP0632" in cold.done("report", "wss", "--source", "regions").err


def test_a_record_tells_whether_the_working_set_grows(looked, tmp_path):
    path = str(tmp_path / "seen.json")
    looked.done("record", "--count", "4", "--interval", "100ms", "--out", path)

    assert "first quarter of the time 288MiB, last quarter 288MiB" in looked.done(
        "report", "wss", path
    ).out  # fmt: skip
    assert "4 snapshots together" in looked.done(
        "report", "histogram", "--snapshot", "all", path
    ).out  # fmt: skip


def test_the_working_set_of_a_record_is_that_of_all_its_schemes(site, clock, tmp_path):
    """Not that of the scheme that shows most: cold memory is no working set."""
    site.done("apply", str(ROOT / "policies/monitor.yaml"))
    clock.sleep(30)
    path = str(tmp_path / "seen.parquet")
    site.done("record", "--source", "regions", "--count", "4", "--interval", "1s", "--out", path)
    (found,) = site.json("report", "wss", path)["data"]["working_sets"]

    assert (found["kdamond"], found["scheme"]) == ("monitor/program", None)
    assert found["schemes"] == ["cold", "hot", "warm"]
    parts = [
        site.json("report", "wss", path, "--scheme", name)["data"]["working_sets"][0]["mean_bytes"]
        for name in ("hot", "warm")
    ]
    assert found["mean_bytes"] == sum(parts) > 0
    assert "monitor/program: working set of 4 snapshots" in site.done("report", "wss", path).out


def test_working_sets_by_time_at_the_percentiles_that_are_asked_for(looked, tmp_path):
    path = tmp_path / "seen.json"
    record = [
        {
            "kdamond_idx": 0, "context_idx": 0, "scheme_idx": 0, "target_id": target,
            "intervals": {"sample_us": "5000", "aggr_us": "100000", "ops_update_us": "0"},
            "snapshots": [
                {
                    "start_time": str(at * 10**8), "end_time": str((at + 1) * 10**8),
                    "regions": [
                        {"start": "0", "end": str(size << 20), "nr_accesses": {"samples": "3"},
                         "age": {"aggr_intervals": "1"}},
                    ],
                }
                for at, size in enumerate(sizes)
            ],
        }
        for target, sizes in ((0, (40, 30, 20, 10)), (1, (1, 1, 1, 1)))
    ]  # fmt: skip
    path.write_text(json.dumps(record))

    def shown(*options):
        found = looked.json("report", "wss", str(path), *options)["data"]["working_sets"]
        return [[each["bytes"] >> 20 for each in one["percentiles"]] for one in found]

    asked = ("--percentiles", "0,50,100")
    assert shown(*asked) == [[10, 30, 40], [1, 1, 1], [11, 31, 41]], "and of both targets"
    assert shown(*asked, "--sort", "time") == [[40, 20, 10], [1, 1, 1], [41, 21, 11]]
    text = looked.done("report", "wss", str(path), "--percentiles", "12.5", "--sort", "time").out
    assert "slot 0, all targets: working set of 4 snapshots, by time\n  12.5%  41MiB" in text
    refused = looked.run("report", "wss", str(path), "--percentiles", "101")
    assert refused.code == 64


def test_nothing_at_all_runs(site):
    site.machine.write("/sys/module/damon_stat/parameters/enabled", "N")

    assert "no kdamond runs, so there is nothing to see" in site.run("report", "wss").err
