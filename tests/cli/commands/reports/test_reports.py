"""What all reports share: what they look at, and what they say where that is not possible."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.cli.commands.reports.conftest import LOOK


def configured(tree):
    return {path: text for path, text in tree.items() if "/stats/" not in path}


def test_reports_change_nothing(looked):
    before = snapshot(looked.machine)
    looked.done("report", "snapshot")
    looked.done("report", "wss")

    assert configured(snapshot(looked.machine)) == configured(before)
    assert not looked.machine.exists(f"{KDAMONDS}/0/contexts/0/schemes/0/tried_regions/0")


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
    """The files' content is shown, and no kdamond is asked."""
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


def test_what_no_scheme_selects_is_told_to_be_missing(cold):
    missing = "of look/vms only the regions that its schemes select are seen"

    assert missing in cold.done("report", "snapshot").err
    assert missing in cold.done("report", "rank").err
    assert missing not in cold.done("report", "snapshot", "--scheme", "cold").err
    assert missing not in cold.done("report", "snapshot", "--source", "trace").err


def test_no_region_for_a_heatmap_is_explained(cold):
    outcome = cold.run("report", "heatmap", "--age", "1h-")

    assert outcome.code == 1
    assert "hint: no scheme selects any now: `--source trace` sees all regions" in outcome.err
