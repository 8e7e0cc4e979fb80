"""Ranks by temperature, writes and idle memory: hand-computed, and laws of all ranks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.kernel.system.processes import Process
from damonpolicy.observe.records import files as records
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.observe.reports.rank import Holder, Row, mean_rate, ordered, rank
from damonpolicy.plan.facts import Filter, Target
from tests.observe.facts import counting, filtering

TENTH = Intervals(5_000, 100_000)
SECOND = Intervals(50_000, 1_000_000)
MINUTES = 120_000_000
VMS = Source(
    "ksm/vms", "cold", ops="vaddr", targets=(Target(11), Target(22)), accesses=counting("writes")
)


def process(pid, cgroup):
    return Process(pid, 1, f"vm-{pid}", "", "", 0, cgroup)


PROCESSES = {11: process(11, "/vms/a"), 22: process(22, "/vms/b"), 33: process(33, "/vms/a")}


def snapshot(source, *regions, passed=None, intervals=TENTH, more=()):
    """A series; regions are start, end, accesses, age and target."""
    columns = list(zip(*regions, strict=True)) or [()] * 5
    last = (1, 2, intervals, Regions.of(*columns, passed=passed))
    return series_of(source, [*more, last])


def ranked(*series, of="targets", idle_for=500_000, lookup=PROCESSES.get):
    return {row.holder.name: row for row in rank(series, of, idle_for, lookup)}


def test_targets_that_trace_events_tell():
    rows = ranked(
        snapshot(VMS, (0, 1000, 20, 3, 0), (1000, 3000, 0, 4, 0), (0, 500, 2, 0, 1)),
    )
    assert list(rows) == ["pid 11 (vm-11)", "pid 22 (vm-22)"]
    one, two = rows.values()
    assert (one.bytes, one.rate, one.idle) == (3000, 200_000.0, 2000)
    assert one.temperature == pytest.approx((30_010_000 * 1000 - 40_000_000 * 2000) / 3000)
    # 2 of 20 samples: 10 %, age 0
    assert (two.bytes, two.rate, two.idle, two.temperature) == (500, 10_000.0, 0, 1000.0)
    assert one.holder == Holder("ksm/vms", 0, 11, "vm-11", "/vms/a", "pid 11", "writes")


def test_the_policys_weights_are_used():
    rows = ranked(snapshot(replace(VMS, weights=(1, 0, 0)), (0, 500, 2, 7, 1)))
    assert rows["pid 22 (vm-22)"].temperature == 500.0


def test_a_scheme_for_one_target():
    source = replace(
        VMS, target=1, filters=filtering("reject what is not target 1; the rest is taken")
    )
    assert list(ranked(snapshot(source, (0, 500, 2, 0, -1)))) == ["pid 22 (vm-22)"]


def test_what_is_of_no_known_target_is_one_row():
    rows = ranked(snapshot(VMS, (0, 500, 2, 0, -1), (500, 600, 0, 0, -1)))
    assert [(name, row.bytes) for name, row in rows.items()] == [
        ("unknown (the kernel does not tell of which target)", 600)
    ]


def test_a_process_that_is_gone_keeps_its_pid():
    rows = ranked(snapshot(VMS, (0, 500, 2, 0, 1)), lookup=lambda pid: None)
    assert list(rows) == ["pid 22"]


def test_a_record_may_tell_a_process_name():
    source = replace(VMS, targets=(Target(11), Target(22, "qemu (old)")))
    rows = ranked(snapshot(source, (0, 500, 2, 0, 1)), lookup=lambda pid: None)
    assert list(rows) == ["pid 22 (qemu (old))"]


def test_two_schemes_that_select_the_same_count_once():
    one, two = replace(VMS, scheme="cold"), replace(VMS, scheme="all")
    rows = ranked(snapshot(one, (0, 500, 2, 0, 1)), snapshot(two, (0, 700, 2, 0, 1)))
    assert rows["pid 22 (vm-22)"].bytes == 700
    assert rows["pid 22 (vm-22)"].rate == 14_000.0


def test_the_same_addresses_of_two_processes_are_not_the_same():
    rows = ranked(snapshot(VMS, (0, 500, 2, 0, 0), (0, 500, 2, 0, 1)), of="kdamonds")
    assert rows["ksm/vms"].bytes == 1000


def test_rates_are_the_mean_of_all_snapshots_by_their_time():
    before = (0, 1, SECOND, Regions.of([0], [1000], [4], [0], target=[0]))
    series = snapshot(VMS, (0, 1000, 20, 3, 0), more=[before])
    # 4 * 1000 bytes in a second, then 20 * 1000 in a tenth: 24,000 bytes in 1.1 s
    row = ranked(series)["pid 11 (vm-11)"]
    assert row.rate == pytest.approx(24_000 / 1.1)
    assert row.bytes == 1000
    assert row.snapshots == 2
    assert mean_rate([series, series_of(VMS, [])]) == pytest.approx(24_000 / 1.1)


def test_rates_of_several_series_go_by_rounds():
    before = (0, 1, SECOND, Regions.of([0], [1000], [4], [0], target=[0]))
    one = snapshot(VMS, (0, 1000, 20, 3, 0), more=[before])
    # each round once: the second sees nothing that the first does not
    assert mean_rate([one, one]) == pytest.approx(24_000 / 1.1)


def test_processes_belong_to_their_cgroups():
    one = snapshot(VMS, (0, 1000, 0, 9, 0), (0, 500, 0, 9, 1))
    other = snapshot(replace(VMS, kdamond="ksm/more", targets=(Target(33),)), (0, 200, 0, 9, -1))
    rows = ranked(one, other, of="cgroups")
    assert {name: row.idle for name, row in rows.items()} == {"/vms/a": 1200, "/vms/b": 500}


def test_one_process_of_two_kdamonds_counts_once():
    one = snapshot(VMS, (0, 1000, 0, 9, 0))
    other = snapshot(replace(VMS, kdamond="x/y", targets=(Target(11),)), (0, 1000, 0, 9, -1))
    assert ranked(one, other, of="cgroups")["/vms/a"].bytes == 1000


def test_pages_that_passed_a_filter_for_a_cgroup_are_the_cgroups():
    source = Source(
        "ksm/all", "a", ops="paddr", accesses=counting("writes"),
        filters=filtering("reject what is not anon; allow memcg /vms/a; allow memcg /vms/a/b; allow memcg /vms/a/c; the rest is rejected"),
    )  # fmt: skip
    rows = ranked(
        snapshot(source, (0, 1000, 0, 9, -1), (1000, 2000, 5, 0, -1), passed=[300, 200]),
        of="cgroups",
    )
    row = rows["/vms/a"]
    assert (row.bytes, row.idle, row.rate) == (500, 300, 10_000.0)


def test_cgroups_that_share_regions_are_told_apart():
    def source(vm):
        return Source(
            "k", vm, ops="paddr", filters=filtering(f"allow memcg /{vm}; the rest is rejected")
        )

    both = [
        snapshot(source("a"), (0, 1000, 0, 9, -1), passed=[300]),
        snapshot(source("b"), (0, 1000, 0, 9, -1), passed=[500]),
    ]
    assert {name: row.bytes for name, row in ranked(*both, of="cgroups").items()} == {
        "/a": 300,
        "/b": 500,
    }
    assert ranked(*both)["physical memory"].bytes == 800


def test_it_is_not_made_up_how_much_passed():
    source = Source("k", ops="paddr", filters=filtering("allow memcg /a; the rest is rejected"))
    rows = ranked(snapshot(source, (0, 1000, 0, 9, -1)), of="cgroups")
    assert [row.bytes for row in rows.values()] == [1000]
    assert list(rows) == ["unknown (the kernel does not tell how much passed filters)"]


def test_physical_memory_is_of_no_cgroup_that_is_known():
    rows = ranked(snapshot(Source("k", ops="paddr"), (0, 1000, 0, 9, -1)), of="cgroups")
    assert list(rows) == ["unknown (not of processes, and no filter for a cgroup)"]
    gone = ranked(snapshot(VMS, (0, 9, 0, 0, 0)), of="cgroups", lookup=lambda pid: None)
    assert list(gone) == ["unknown (processes gone)"]


def test_physical_memory_is_a_target():
    rows = ranked(snapshot(Source("k", ops="paddr"), (0, 1000, 0, 9, -1)))
    assert list(rows) == ["physical memory"]


def test_filters_that_let_other_memory_through_name_no_cgroup():
    source = Source("k", ops="paddr", filters=filtering("reject memcg /a; the rest is taken"))
    rows = ranked(snapshot(source, (0, 1000, 0, 9, -1), passed=[10]), of="cgroups")
    assert list(rows) == ["unknown (filters let other memory through, too)"]


def test_a_source_that_saw_nothing_has_a_row_without_temperature():
    (row,) = ranked(snapshot(replace(VMS, target=1))).values()
    assert (row.bytes, row.rate, row.idle, row.temperature) == (0, 0.0, 0, None)
    (row,) = ranked(series_of(replace(VMS, target=1), [])).values()
    assert (row.bytes, row.snapshots) == (0, 0)
    assert rank([], "targets", 0, PROCESSES.get) == []


def row(name, *, rate=0.0, idle=0, temperature=0.0, counts="writes", held=1, unknown=""):
    return Row(Holder(name, counts=counts, unknown=unknown), held, rate, idle, temperature, 1)


ROWS = [
    row("a", rate=5.0, idle=10, temperature=-4.0),
    row("b", rate=2.0, idle=30, temperature=8.0),
    row("c", rate=1.0, idle=20, temperature=2.0, counts="all"),
    row("", rate=0.0, idle=99, temperature=99.0, unknown="why"),
    row("e", temperature=None, held=0),
]


@pytest.mark.parametrize(
    ("by", "reverse", "expected"),
    [
        ("temperature", False, ["b", "c", "a", "e", ""]),
        ("temperature", True, ["a", "c", "b", "e", ""]),
        ("writes", False, ["b", "a", "c", "e", ""]),
        ("writes", True, ["a", "b", "c", "e", ""]),
        ("idle", False, ["b", "c", "a", "e", ""]),
        ("idle", True, ["a", "c", "b", "e", ""]),
    ],
)
def test_each_order_begins_with_whom_one_would_choose(by, reverse, expected):
    names = [each.holder.kdamond for each in ordered(ROWS, by, reverse=reverse)]
    assert names == expected


PIECES = st.lists(
    st.tuples(st.integers(1, 50), st.integers(0, 20), st.integers(0, 9), st.integers(-1, 1)),
    max_size=12,
)


@given(PIECES, st.sampled_from(["targets", "kdamonds", "cgroups"]), st.integers(0, 10**6))
def test_rows_add_up_to_what_was_seen(pieces, of, idle_for):
    place, regions = 0, []
    for size, accesses, age, target in pieces:
        regions.append((place, place + size, accesses, age, target))
        place += size
    regions.sort(key=lambda each: each[4])
    series = snapshot(VMS, *regions)
    rows = rank([series], of, idle_for, PROCESSES.get)
    assert sum(row.bytes for row in rows) == place
    assert all(0 <= row.idle <= row.bytes for row in rows)
    assert sum(row.rate for row in rows) == pytest.approx(mean_rate([series]))
    assert len({row.holder for row in rows}) == len(rows)


HOSTILE = ("/vm and 1 below it", "/x; reject anon", "/a; the rest is rejected", "/what is not b")


@pytest.mark.parametrize("path", HOSTILE)
def test_a_cgroup_may_have_any_name(path):
    """Any name is possible for a cgroup: nothing is read out of it."""
    source = Source("k", ops="paddr", filters=(Filter("memcg", True, True, path),))
    held = snapshot(source, (0, 1000, 0, 9, -1), passed=[300])

    assert {name: row.bytes for name, row in ranked(held, of="cgroups").items()} == {path: 300}


@pytest.mark.parametrize("path", HOSTILE)
def test_a_cgroup_of_any_name_stays_in_records(path, tmp_path):
    source = Source(
        "k", ops="paddr", filters=(Filter("memcg", False, True, path), Filter("anon", True, False))
    )
    held = snapshot(source, (0, 1000, 0, 9, -1), passed=[300])
    for form in ("parquet", "damo-json"):
        name = str(tmp_path / form)
        records.write(name, [held], form)
        (back,) = records.load(name)
        assert back.source.filters == source.filters, form
    theirs = json.loads((tmp_path / "damo-json").read_text())
    assert [each["memcg_path"] for each in theirs[0]["scheme_filters"]] == [path, ""]
    for each in theirs:
        del each["damonpolicy"]  # as damo itself would write it
    (tmp_path / "theirs").write_text(json.dumps(theirs))
    assert records.load(str(tmp_path / "theirs"))[0].source.filters == source.filters
