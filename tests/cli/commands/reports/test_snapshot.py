"""`report snapshot`: its tables, lines and documents."""

from __future__ import annotations

import csv
import re

import pytest

from damonpolicy.observe.regions import Source
from damonpolicy.plan.facts import Accesses
from tests.cli.commands.reports.conftest import LOOK
from tests.cli.commands.reports.given import report, series


def test_a_snapshot_of_what_runs(looked):
    lines = looked.done("report", "snapshot", "--scheme", "all").out.splitlines()

    assert lines[0].startswith("emulated kernel 7.3")
    assert lines[1].startswith("look/vms, scheme all at 20")
    assert lines[1].endswith("13 regions, 1GiB")
    assert lines[3].split() == ["from", "size", "accessed", "age", "temperature"]
    assert len(lines) == 1 + 3 + 13 + 2
    assert "working set, about" in lines[-2]


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


def test_a_table_without_regions_has_no_columns(looked):
    lines = looked.done("report", "snapshot", "--scheme", "all", "--age", "1h-").out.splitlines()

    assert "0 regions" in lines[1]
    assert not any("temperature" in line or "working set" in line for line in lines)


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


def test_an_early_record_does_not_tell_which_accesses_counted(monkeypatch):
    source = Source("k", accesses=Accesses("", cpus="0"))
    found = report(monkeypatch, "snapshot", [series(source, (0, 4096, 1, 1))])

    assert found.data["snapshots"][0]["accesses"]["kind"] is None
    assert "accesses: unknown of CPU 0" in found.text
