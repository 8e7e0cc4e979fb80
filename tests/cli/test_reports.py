"""`report snapshot`, `histogram` and `wss`: output for people and programs."""

from __future__ import annotations

import csv
import json
import re

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.conftest import ROOT

LOOK = """
version: 1
name: look
kdamonds:
  - name: vms
    ops: vaddr
    targets: [{process: {name: qemu-system-x86_64}}]
    schemes:
      - name: all
        action: stat
      - name: cold
        action: stat
        access_pattern: {access_rate: {max: 0%}}
        filters: [{allow: anon}]
modules: {damon_stat: {enabled: false}}
"""


@pytest.fixture
def looked(site):
    """A site on which something runs that can be looked at."""
    site.done("apply", site.policy("look", LOOK))
    return site


def test_a_snapshot_of_what_runs(looked):
    lines = looked.done("report", "snapshot", "--scheme", "all").out.splitlines()

    assert lines[0].startswith("emulated kernel 7.3")
    assert lines[1].startswith("look/vms, scheme all at 20")
    assert lines[1].endswith("13 regions, 1GiB")
    assert lines[3].split() == ["from", "size", "accessed", "age", "temperature"]
    assert len(lines) == 1 + 3 + 13 + 2
    assert "working set, about" in lines[-2]


def configured(tree):
    return {path: text for path, text in tree.items() if "/stats/" not in path}


def test_reports_change_nothing(looked):
    before = snapshot(looked.machine)
    looked.done("report", "snapshot")
    looked.done("report", "wss")

    assert configured(snapshot(looked.machine)) == configured(before)
    assert not looked.machine.exists(f"{KDAMONDS}/0/contexts/0/schemes/0/tried_regions/0")


def test_the_sum_of_the_rows_is_the_total(looked):
    every, cold = looked.json("report", "snapshot")["data"]["snapshots"]

    assert sum(row["size_bytes"] for row in every["regions"]) == every["total_bytes"]
    assert all(row["access_percent"] == 0 for row in cold["regions"])
    assert cold["passed_bytes"] == sum(row["passed_bytes"] for row in cold["regions"])
    assert every["passed_bytes"] is None, "it has no filter that looks at pages"


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--size", "100MiB-"), 7),
        (("--access-rate", "50%-"), 3),
        (("--address", "0x7f0080000000-0x7f00c0000000"), 2),
        (("--temperature", "..0"), 8),
        (("--age", "1h-"), 0),
    ],
)
def test_bounds(looked, options, count):
    (found,) = looked.json("report", "snapshot", "--scheme", "all", *options)["data"]["snapshots"]

    assert len(found["regions"]) == count


def test_lines_of_ones_own(looked):
    options = ("--scheme", "all", "--sort", "size", "--descending", "--limit", "1", "--line")
    outcome = looked.done(
        "report", "snapshot", *options, "{{ index }} {{ start }} {{ size }} {{ age_us }}"
    )

    number, start, size, age = outcome.out.split()
    assert (number, size, age.isdecimal()) == ("0", "102.4MiB", True)
    assert start.startswith("0x7f")


def test_csv_is_read_by_others(looked):
    rows = list(
        csv.DictReader(
            looked.done("report", "snapshot", "--scheme", "all", "--csv").out.splitlines()
        )
    )

    assert len(rows) == 13
    assert sum(int(row["size_bytes"]) for row in rows) == 1 << 30
    assert {row["kdamond"] for row in rows} == {"look/vms"}


def test_boxes_are_longer_for_larger_regions(looked):
    options = ("--scheme", "all", "--boxes", "--sort", "size")
    lines = looked.done("report", "snapshot", *options).out.splitlines()
    boxes = [line.strip().split("|")[1] for line in lines if "|" in line]

    assert [len(each) for each in boxes] == sorted(len(each) for each in boxes)
    assert {each[0] for each in boxes} == {"0", "2", "6", "7", "9"}


def test_tables_by_target(looked):
    found = looked.json("report", "snapshot", "--per", "target", "--source", "trace")["data"]

    assert [each["target"] for each in found["snapshots"]] == [0, 1]


def test_histograms_hold_everything(looked):
    found = looked.json("report", "histogram", "--scheme", "all")["data"]["histograms"][0]

    assert sum(each["bytes"] for each in found["bins"]) == found["total_bytes"] == 1 << 30


def test_what_is_idle_and_passed_the_filters_is_one_command(looked):
    outcome = looked.done(
        "report", "histogram", "--scheme", "cold", "--by", "idle", "--bins", "0s..1s,1s..1h"
    )
    bars = [line for line in outcome.out.splitlines() if "|" in line]

    assert len(bars) == 2
    assert all(" passed" in line for line in bars)


def test_percentiles(looked):
    outcome = looked.done("report", "histogram", "--scheme", "all", "--percentiles", "0,50,100")

    assert [line.split()[0] for line in outcome.out.splitlines()[2:]] == ["0%", "50%", "100%"]


def test_working_sets(looked):
    text = looked.done("report", "wss", "--scheme", "all").out
    found = looked.json("report", "wss", "--scheme", "all")["data"]["working_sets"][0]

    assert "288MiB working set" in text
    assert found["percentiles"][-1] == {"percent": 100, "bytes": 288 << 20}


def test_another_s_kdamond_is_looked_at_only_when_named(site):
    for path, text in (
        ("nr_kdamonds", "1"),
        ("0/contexts/nr_contexts", "1"),
        ("0/contexts/0/operations", "vaddr"),
        ("0/contexts/0/targets/nr_targets", "1"),
        ("0/contexts/0/targets/0/pid_target", "811"),
        ("0/contexts/0/schemes/nr_schemes", "1"),
        ("0/contexts/0/schemes/0/access_pattern/sz/max", str((1 << 64) - 1)),
        ("0/contexts/0/schemes/0/access_pattern/nr_accesses/max", "100"),
        ("0/contexts/0/schemes/0/access_pattern/age/max", "1000000"),
    ):
        site.machine.write(f"{KDAMONDS}/{path}", text)
    site.machine.write("/sys/module/damon_stat/parameters/enabled", "N")
    site.machine.write(f"{KDAMONDS}/0/state", "on")

    refused = site.run("report", "snapshot")
    seen = site.done("report", "snapshot", "--kdamond", "slot 0")

    assert refused.code == ExitCode.UNSUPPORTED
    assert "hint: `--kdamond 'slot 0'` looks at what someone else runs" in refused.err
    assert "slot 0, scheme 0, target 0 (pid 811 (qemu-system-x86))" in seen.out


STAT = "/sys/module/damon_stat/parameters/enabled"


@pytest.mark.parametrize("arguments", [("snapshot",), ("wss", "--kdamond", "damon_stat")])
def test_nothing_runs(site, arguments):
    site.machine.write(STAT, "N")
    outcome = site.run("report", *arguments)

    assert outcome.code == ExitCode.UNSUPPORTED
    assert "no kdamond runs, so there is nothing to see" in outcome.err


@pytest.mark.parametrize("words", [(), ("--kdamond", "damon_stat"), ("--source", "trace")])
def test_what_a_module_of_the_kernel_sees_is_reported(site, words):
    (found,) = site.done("report", "wss", *words, "--format", "json").json["data"]["working_sets"]

    areas = [
        area for each in site.world.machine._world.processes.values() for area in each["areas"]
    ]
    assert found["kdamond"] == "damon_stat"
    assert found["mean_bytes"] == sum(area["size"] for area in areas if area["rate"])


def test_a_module_tells_its_regions_by_trace_events_only(site):
    refused = site.run("report", "snapshot", "--source", "regions")
    unknown = site.run("report", "snapshot", "--kdamond", "x")

    assert refused.code == unknown.code == ExitCode.USAGE
    assert "a kernel module reports its regions by trace events only" in refused.err
    assert "hint: there is only `damon_stat`" in unknown.err


def test_a_module_that_watermarks_keep_asleep_tells_nothing(site):
    site.machine.write(STAT, "N")
    reclaim = "/sys/module/damon_reclaim/parameters"
    site.machine.write(f"{reclaim}/wmarks_high", "1")
    site.machine.write(f"{reclaim}/enabled", "Y")

    outcome = site.run("report", "snapshot")

    assert outcome.code == ExitCode.UNSUPPORTED
    assert "damon_reclaim reported nothing while it was traced" in outcome.err


def test_each_report_takes_the_weights_that_are_given(looked):
    def hottest(*arguments):
        words = ("report", "rank", "--source", "trace", *arguments, "--format", "json")
        return [each["temperature"] for each in looked.done(*words).json["data"]["ranks"]]

    assert all(0 <= each <= 100 for each in hottest("--temperature-weights", "0,1,0"))
    assert not all(0 <= each <= 100 for each in hottest())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("snapsot",), "there is no report `snapsot`\n  hint: did you mean `snapshot`?"),
        (("snapshot", "--scheme", "al"), "--scheme: nothing is called `al`\n  hint: did you mean `all`?"),
        (("snapshot", "--kdamond", "look/vm"), "did you mean `look/vms`?"),
        (("snapshot", "--size", "5"), "--size: `5` has no unit"),
        (("snapshot", "--size", "2MiB-1MiB"), "--size: `2MiB-1MiB` goes backwards"),
        (("snapshot", "--temperature", "hot"), "--temperature: `hot` is not a temperature"),
        (("snapshot", "--temperature-weights", "1,2"), "is not three whole numbers"),
        (("snapshot", "--snapshot", "7"), "there is no snapshot 7, there are 1"),
        (("snapshot", "--snapshot", "x"), "`x` is not a number"),
        (("snapshot", "--line", "{{ sise }}"), "--line: `sise` is not defined\n  hint: did you mean `size`?"),
        (("snapshot", "--line", "{{"), "--line: the template is wrong"),
        (("histogram", "--bins", "1..x"), "--bins: `1..x`: `x` is not a temperature"),
        (("histogram", "--bins", "5..1"), "--bins: `5..1` goes backwards"),
        (("histogram", "--by", "idle", "--bins", "1..2"), "`1` has no unit"),
        (("histogram", "--percentiles", "a"), "`a` is not a list of numbers"),
        (("histogram", "--percentiles", "101"), "they are from 0 to 100"),
        (("wss", "--least", "0"), "0 is not in the range x>=1"),
    ],
)  # fmt: skip
def test_mistakes(looked, arguments, said):
    outcome = looked.run("report", *arguments)

    assert outcome.code == ExitCode.USAGE
    assert said in outcome.err


def test_what_would_never_end_is_traced_instead(looked):
    looked.done(
        "apply",
        looked.policy("look", LOOK.replace("    ops: vaddr", "    paused: true\n    ops: vaddr")),
    )

    refused = looked.run("report", "snapshot", "--source", "regions")
    silent = looked.run("report", "snapshot")

    assert refused.code == ExitCode.USAGE
    assert "look/vms cannot be asked for its regions: it is paused" in refused.err
    assert silent.code == ExitCode.UNSUPPORTED
    assert "look/vms reported nothing while it was traced" in silent.err


def test_a_long_hold_of_the_lock_is_told(looked):
    text = LOOK.replace(
        "name: all\n        action: stat",
        "name: all\n        action: stat\n        apply_every: 3s",
    )
    looked.done("apply", looked.policy("look", text))

    assert "DP0630" in looked.done("report", "wss").err


def test_regions_of_a_copied_machine(looked, tmp_path):
    """What the files hold is shown, and nobody is asked."""
    outcome = looked.run("report", "snapshot", "--root", str(tmp_path))

    assert outcome.code != 0


def test_a_kdamond_that_tells_nothing_is_named_beside_the_others(looked):
    second = LOOK[LOOK.index("  - name: vms") : LOOK.index("modules")].replace(
        "name: vms", "name: paused\n    paused: true"
    )
    looked.done("apply", looked.policy("look", LOOK.replace("modules", f"{second}modules")))

    outcome = looked.done("report", "wss", "--source", "trace")

    assert "look/vms: 288MiB working set" in outcome.out
    assert "warning[DP0631]: look/paused reported nothing while it was traced" in outcome.err


def test_what_schemes_did_and_how_intervals_are_tuned(looked):
    tuned = "    intervals: {auto_tune: {observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}}\n"
    looked.done(
        "apply", looked.policy("look", LOOK.replace("    schemes:", f"{tuned}    schemes:"))
    )

    text = looked.done("report", "snapshot", "--scheme", "all", "--total").out
    (found,) = looked.json("report", "snapshot", "--scheme", "all")["data"]["snapshots"]

    assert re.search(r"^  so far tried \S+ in [\d,]+ regions, applied to 0B, ", text, re.MULTILINE)
    assert "  intervals are tuned toward 4% of all accesses that could be seen, here are " in text
    assert found["tuning"]["wanted_bp"] == 400
    assert found["statistics"]["sz_tried"] >= 1 << 30
    assert "so far" not in looked.done("report", "snapshot", "--source", "trace").out


@pytest.fixture
def cold(site):
    """A site on which only cold memory is selected, as by policies that act on it."""
    text = LOOK.replace("      - name: all\n        action: stat\n", "")
    site.done("apply", site.policy("look", text))
    return site


def test_what_no_scheme_selects_is_told_to_be_missing(cold):
    missing = "of look/vms only the regions that its schemes select are seen"

    assert missing in cold.done("report", "snapshot").err
    assert missing in cold.done("report", "rank").err
    assert missing not in cold.done("report", "snapshot", "--scheme", "cold").err
    assert missing not in cold.done("report", "snapshot", "--source", "trace").err


def test_a_working_set_is_that_of_all_regions(cold):
    whole = cold.done("report", "wss")

    assert "look/vms: 288MiB working set" in whole.out
    assert "DP0632" not in whole.err
    assert "0B working set" in cold.done("report", "wss", "--scheme", "cold").out
    assert "DP0632" in cold.done("report", "wss", "--source", "regions").err


def test_a_table_without_regions_has_no_columns(looked):
    lines = looked.done("report", "snapshot", "--scheme", "all", "--age", "1h-").out.splitlines()

    assert "0 regions" in lines[1]
    assert not any("temperature" in line or "working set" in line for line in lines)


def test_no_region_for_a_heatmap_is_explained(cold):
    outcome = cold.run("report", "heatmap", "--age", "1h-")

    assert outcome.code == 1
    assert "hint: no scheme selects any now: `--source trace` sees all regions" in outcome.err


def test_without_targets_it_is_said_who_knows_them(looked):
    assert "DP0633" in looked.done("report", "snapshot", "--per", "target").err
    assert "DP0633" not in looked.done(
        "report", "snapshot", "--per", "target", "--source", "trace"
    ).err  # fmt: skip


@pytest.mark.parametrize(("options", "count"), [(("--limit", "2"), 2), (("--total",), 0)])
def test_documents_hold_no_more_regions_than_asked(looked, options, count):
    found = looked.json("report", "snapshot", "--scheme", "all", *options)["data"]["snapshots"]

    assert [len(each["regions"]) for each in found] == [count]
    assert found[0]["total_bytes"] == 1 << 30


def test_bins_of_times_may_be_written_as_other_ranges(looked):
    one, other = (
        looked.json("report", "histogram", "--by", "idle", "--bins", text)["data"]["histograms"][0]
        for text in ("0s-1m,1m-1h", "0s..1m,1m..1h")
    )

    assert [each["high"] for each in one["bins"]] == [each["high"] for each in other["bins"]]


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
    """Not that of the scheme that shows most: what is cold is no working set at all."""
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
