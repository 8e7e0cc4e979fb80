"""`report histogram`: its bins and percentiles."""

from __future__ import annotations


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


def test_bins_of_times_may_be_written_as_other_ranges(looked):
    one, other = (
        looked.json("report", "histogram", "--by", "idle", "--bins", text)["data"]["histograms"][0]
        for text in ("0s-1m,1m-1h", "0s..1m,1m..1h")
    )

    assert [each["high"] for each in one["bins"]] == [each["high"] for each in other["bins"]]
