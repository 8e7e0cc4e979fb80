"""`report rank`: its text for people, and its document for schedulers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.processes import Selector, find
from damonpolicy.plan.facts import Target
from tests.cli.commands.reports.given import Source, report, series
from tests.observe.facts import counting

KEYS = [
    "rank", "name", "known", "kdamond", "target", "pid", "comm", "cgroup", "accesses",
    "bytes", "idle_bytes", "bytes_per_second", "temperature", "snapshots",
]  # fmt: skip
MIB = 1 << 20
VMS = Source("ksm/vms", ops="vaddr", targets=(Target(11), Target(22)), accesses=counting("writes"))
BUSY = (0, 40 * MIB, 20, 3, 0)
IDLE = (0, 10 * MIB, 0, 1500, 1)


def test_text_has_the_one_to_choose_first(monkeypatch):
    result = report(monkeypatch, "rank", [series(VMS, BUSY, IDLE)], "rec", "--by", "writes")
    lines = result.text.splitlines()
    assert lines[0] == "by writes, least first"
    assert lines[2].split() == [
        "target", "kdamond", "bytes", "rate", "accesses", "idle", "2m", "temperature",
    ]  # fmt: skip
    assert lines[3].split() == [
        "pid", "22", "ksm/vms", "10MiB", "0B/s", "writes", "10MiB", "-15G",
    ]  # fmt: skip
    assert lines[4].split() == [
        "pid", "11", "ksm/vms", "40MiB", "7.8GiB/s", "writes", "0B", "30M",
    ]  # fmt: skip
    assert len({len(line) for line in lines[2:]}) == 1, "columns are aligned"


def test_the_document_has_units_in_the_names_of_keys(monkeypatch):
    found = [series(VMS, BUSY, IDLE)]
    data = report(monkeypatch, "rank", found, "rec", "--by", "idle", "--idle-for", "1m").data
    assert list(data) == [
        "by", "of", "order", "idle_for_us", "ranks", "left_out", "bytes", "notes",
    ]  # fmt: skip
    assert [list(each) for each in data["ranks"]] == [KEYS, KEYS]
    assert data["ranks"][0] == {
        "rank": 1, "name": "pid 22", "known": True, "kdamond": "ksm/vms", "target": 1,
        "pid": 22, "comm": None, "cgroup": None, "accesses": "writes", "bytes": 10 * MIB,
        "idle_bytes": 10 * MIB, "bytes_per_second": 0.0, "temperature": -15e9, "snapshots": 1,
    }  # fmt: skip
    assert data["bytes"] == 50 * MIB
    assert data["idle_for_us"] == 60_000_000
    assert data["notes"] == []


def test_the_other_way_round_and_no_more_than_asked(monkeypatch):
    found = [series(VMS, BUSY, IDLE)]
    result = report(
        monkeypatch, "rank", found, "rec", "--by", "writes", "--reverse", "--limit", "1"
    )
    assert [each["name"] for each in result.data["ranks"]] == ["pid 11"]
    assert result.data["left_out"] == 1
    assert "and 1 more\n" in result.text


def test_it_is_said_that_more_than_writes_is_counted(monkeypatch):
    both = replace(VMS, kdamond="all/vms", accesses=counting("all"))
    only = report(monkeypatch, "rank", [series(both, BUSY)], "rec", "--by", "writes")
    assert "no kdamond counts writes only" in only.data["notes"][0]
    mixed = [series(both, BUSY), series(VMS, BUSY)]
    data = report(monkeypatch, "rank", mixed, "rec", "--by", "writes").data
    assert "some of these kdamonds do not count writes only" in data["notes"][0]
    assert [each["accesses"] for each in data["ranks"]] == ["writes", "all"]


def test_unknown_targets_are_one_row_and_a_note(monkeypatch):
    found = [series(VMS, (0, MIB, 0, 0), (MIB, 3 * MIB, 4, 0))]
    result = report(monkeypatch, "rank", found, "rec")
    (row,) = result.data["ranks"]
    assert (row["known"], row["bytes"], row["target"]) == (False, 3 * MIB, None)
    assert "note: of some regions it is not known of which target" in result.text


def test_nothing_was_seen(monkeypatch):
    result = report(monkeypatch, "rank", [], "rec")
    assert result.text == "no regions were seen\n"
    assert (result.data["ranks"], result.data["bytes"]) == ([], 0)


def test_live_targets_have_names_and_cgroups(monkeypatch):
    machine = EmulatedMachine.create("7.3")
    process = find(machine, Selector(name="qemu-system-x86_64"))[0]
    source = replace(VMS, targets=(Target(process.pid), Target(999999)))
    found = [series(source, BUSY, IDLE)]
    data = report(monkeypatch, "rank", found, "--of", "targets", machine=machine).data
    assert [(each["comm"], each["cgroup"]) for each in data["ranks"]] == [
        (process.comm, process.cgroup),
        (None, None),
    ]
    data = report(monkeypatch, "rank", found, "--of", "cgroups", machine=machine).data
    assert [each["name"] for each in data["ranks"]] == [
        process.cgroup,
        "unknown (processes gone)",
    ]
    record = report(monkeypatch, "rank", found, "rec", machine=machine).data
    assert record["ranks"][0]["comm"] is None, "a record's pids may be others' by now"


def test_a_time_has_a_unit(monkeypatch):
    with pytest.raises(UsageError, match=r"`--idle-for`: `2` has no unit"):
        report(monkeypatch, "rank", [], "--idle-for", "2")
