from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damonpolicy.base import limits
from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.observe.records import damo
from damonpolicy.observe.records.files import load as load_record
from damonpolicy.observe.records.files import write as write_record
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.plan.facts import Target
from tests.observe.facts import filtering
from tests.observe.recorded import NOW, plain, records

SECOND = 1_000_000_000
same_directory = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
)

OF_TODAY = """[{
    "kdamond_idx": 1, "context_idx": 0,
    "intervals": {"sample_us": "5000", "aggr_us": "100000", "ops_update_us": "1000000",
        "intervals_goal": {"access_bp": "4.000000", "aggrs": "3", "min_sample_us": "5000",
                           "max_sample_us": "10000000"}},
    "scheme_idx": 2, "target_id": null,
    "scheme_filters": [
        {"filter_type": "memcg", "matching": true, "allow": true, "memcg_path": "/a",
         "address_range": null, "damon_target_idx": null, "hugepage_size": null},
        {"filter_type": "addr", "matching": false, "allow": false, "memcg_path": "",
         "address_range": {"start": "4,096", "end": "8,192"}, "damon_target_idx": null},
        {"filter_type": "hugepage_size", "matching": "yes", "filter_pass": "n",
         "hugepage_size": ["4.000 KiB", "2.000 MiB"]},
        {"filter_type": "target", "matching": true, "allow": true, "damon_target_idx": "3"},
        {"filter_type": "anon", "matching": true, "allow": false}],
    "snapshots": [{
        "start_time": "1700000000000000000", "end_time": "1700000000100000000",
        "regions": [
            {"start": "94,827,419,009,024", "end": "94,827,419,013,120",
             "nr_accesses": {"samples": 3, "percent": 15}, "age": {"usec": "3 m 20 s",
             "aggr_intervals": "2,000"}, "probe_hits": [1, 2], "sz_filter_passed": "1.500 KiB"},
            {"start": "94,827,419,013,120", "end": "94,827,419,017,216",
             "nr_accesses": {"samples": null, "percent": "50"}, "age": {"usec": "1.5 s",
             "aggr_intervals": null}, "probe_hits": [3, 4], "sz_filter_passed": "0 B"}],
        "total_bytes": "8192", "damos_stats": null, "sample_interval_us": null},
       {"start_time": "1700000000100000000", "end_time": "1700000000300000000",
        "regions": [], "total_bytes": "0", "sample_interval_us": "10 ms"}],
    "data_source": "unknown"}]"""
OF_OLD = """[{"target_id": 18446623435582458880, "snapshots": [
    {"start_time": 1000000000, "end_time": 1200000000, "regions": [
        {"start": 0, "end": 4096, "nr_accesses": {"samples": 7},
         "age": {"usec": null, "aggr_intervals": null}}]},
    {"start_time": "1 s 200 ms", "end_time": "1.4 s", "regions": [
        {"start": "0", "end": "4 KiB", "nr_accesses": {"samples": "8", "percent": null},
         "age": {"usec": null, "aggr_intervals": 1}}]}]}]"""


def write(tmp_path, content):
    path = tmp_path / "damon.data"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@same_directory
@given(records(), st.sampled_from(["json", "json_compressed"]))
def test_json_keeps_everything(tmp_path, made, form):
    path = str(tmp_path / "r")
    damo.write(path, made, form)

    found = {each.source: plain(each) for each in damo.read(path)}
    assert {each.source: plain(each) for each in made} == found


@pytest.mark.parametrize("pack", [lambda text: text, lambda text: zlib.compress(text.encode())])
def test_a_record_of_today(tmp_path, pack):
    (series,) = damo.read(write(tmp_path, pack(OF_TODAY)))

    assert plain(series) == {
        "source": Source(
            "slot 1", "2", slot=1, scheme_index=2, origin="damo", tuned=True, probes=("0", "1"),
            filters=filtering("allow memcg /a; reject what is not addr 0x1000-0x2000;"
            " reject hugepage_size 4KiB-2MiB; allow target 3; reject anon; the rest is taken"),
        ),
        "begin": [NOW, NOW + SECOND // 10], "end": [NOW + SECOND // 10, NOW + 3 * SECOND // 10],
        "sample": [5000, 10_000], "aggregation": [100_000, 200_000], "offsets": [0, 2, 2],
        "start": [94827419009024, 94827419013120],
        "region_end": [94827419013120, 94827419017216],
        "accesses": [3, 10], "age": [2000, 15], "target": [-1, -1],
        "passed": [1536, 0], "hits": [[1, 2], [3, 4]],
    }  # fmt: skip


def test_an_old_record(tmp_path):
    """No interval is known: an aggregation lasted as long as a snapshot, and had 20 samples."""
    (series,) = damo.read(write(tmp_path, OF_OLD))

    assert series.source == Source(
        "slot 0", targets=(Target(id=18446623435582458880),), origin="damo", guessed=True
    )
    assert (series.begin.tolist(), series.end.tolist()) == (
        [SECOND, 6 * SECOND // 5], [6 * SECOND // 5, 7 * SECOND // 5],
    )  # fmt: skip
    assert series.aggregation.tolist() == [200_000, 200_000]
    assert series.sample.tolist() == [10_000, 10_000]
    assert series.regions.accesses.tolist() == [7, 8]
    assert series.regions.age.tolist() == [0, 1]
    assert series.regions.end.tolist() == [4096, 4096]
    assert series.regions.passed is None


def test_what_passed_is_told_where_there_is_a_scheme(tmp_path):
    text = OF_OLD.replace('"start": "0"', '"sz_filter_passed": "0 B", "start": "0"')
    text = text.replace('"start": 0', '"sz_filter_passed": "0 B", "start": 0')
    without = damo.read(write(tmp_path, text))[0]
    with_one = damo.read(write(tmp_path, text.replace('"target_id"', '"scheme_idx":0,"target_id"')))

    assert without.regions.passed is None
    assert with_one[0].regions.passed.tolist() == [0, 0]


@pytest.mark.parametrize("hits", ["[1]", "[]", "null"])
def test_hits_that_are_not_alike_are_left_out(tmp_path, hits):
    (series,) = damo.read(write(tmp_path, OF_TODAY.replace("[1, 2]", hits)))

    assert series.regions.hits is None


def test_what_damo_calls_a_count_of_nothing_is_0(tmp_path):
    text = OF_OLD.replace('{"samples": 7}', '{"samples": -1}').replace(": 1}", ": -1}")
    (series,) = damo.read(write(tmp_path, text))

    assert series.regions.accesses.tolist() == [0, 8]
    assert series.regions.age.tolist() == [0, 0]


def test_damons_own_module(tmp_path):
    text = OF_TODAY.replace('"unknown"', '"damon_stat"')

    assert damo.read(write(tmp_path, text))[0].source.kdamond == "damon_stat"


@pytest.mark.parametrize("text", ['"10000000"', "10000000", '"10 ms"', '"10,000 us"'])
def test_tuned_intervals(tmp_path, text):
    (series,) = damo.read(write(tmp_path, OF_TODAY.replace('"10 ms"', text)))

    assert series.intervals(1) == Intervals(10_000, 200_000)


def test_filters_survive(tmp_path):
    first = damo.read(write(tmp_path, OF_TODAY))
    damo.write(str(tmp_path / "again"), first, "json")
    said = json.loads((tmp_path / "again").read_text())[0]

    kinds = [each["filter_type"] for each in said["scheme_filters"]]
    assert kinds == ["memcg", "addr", "hugepage_size", "target", "anon"]
    assert said["scheme_filters"][2]["hugepage_size"] == ["4096", "2097152"]
    del said["damonpolicy"]
    again = damo.read(write(tmp_path, json.dumps([said])))
    assert again[0].source.filters == first[0].source.filters


def test_one_record_a_target(tmp_path):
    """That is what damo has; what we wrote, we put together again."""
    two = Regions.of([0, 8192, 0], [4096, 9000, 77], [1, 2, 3], [4, 5, 6], [0, 0, 1])
    series = series_of(Source("p/k"), [(NOW, NOW + 1, Intervals(5, 100), two)])
    path = tmp_path / "r"
    damo.write(str(path), [series], "json")
    found = json.loads(path.read_text())

    assert [each["target_id"] for each in found] == [0, 1]
    assert [each["snapshots"][0]["total_bytes"] for each in found] == ["4904", "77"]
    assert plain(damo.read(str(path))[0]) == plain(series)

    found[1]["snapshots"][0]["end_time"] = "5"
    with pytest.raises(PolicyInvalid, match="do not fit together"):
        damo.read(write(tmp_path, json.dumps(found)))


def test_files_are_private(tmp_path):
    damo.write(str(tmp_path / "r"), [])

    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o600
    assert damo.read(str(tmp_path / "r")) == []


BAD = {
    "not json": ("[{", "a key is expected"),
    "nothing": ("[1]", "not a list of records"),
    "an object": ("{}", "not a list of records"),
    "no snapshots": ("[{}]", "record 0: 'snapshots' is missing"),
    "no regions": ('[{"snapshots":[{"start_time":1,"end_time":1}]}]', "'regions' is missing"),
    "snapshots is text": ('[{"snapshots":"abc"}]', "record 0: "),
    "nothing but lists": ("[" * 100_000, "not a list of records"),
    "nested": ('[{"intervals": ' + "[" * 100_000, "nested too deeply"),
    "nested snapshots": ('[{"snapshots": ' + "[" * 100_000 + "]" * 99_999, "nested too deeply"),
    "twice": ('[{"snapshots": [], "snapshots": []}]', "appears twice"),
    "after its end": ("[] []", "after its end"),
    "no comma": ('[{"snapshots": [] "scheme_idx": 1}]', "is expected"),
    "wrong bracket": ('[{"snapshots": [}}]', "is expected"),
    "wrong brackets": ('[{"snapshots": [{"a": ]}]}]', "record 0: "),
    "number as a key": ("[{1: 2}]", "a key is expected"),
    "no end": ('[{"unknown": [[', "ends in the middle"),
    "nothing as a value": ('[{"unknown": , "a": 1}]', "is not a value"),
    "not a number": (OF_OLD.replace("1000000000", '"soon"'), "`soon` is not a number"),
    "no unit": (OF_OLD.replace("4 KiB", "4 parsec"), "`parsec` is not a unit of it"),
    "negative": (OF_OLD.replace('"start": 0', '"start": -4096'), "not a number of 64 bits"),
    "too large": (OF_OLD.replace("4 KiB", "1" * 25), "not a number of 64 bits"),
    "much too large": (OF_OLD.replace("4 KiB", "1" * 5000), "is not a number"),
    "digits": (OF_OLD.replace("1000000000", "1" * 5000), "Exceeds the limit"),
    "nan": (OF_OLD.replace("1000000000", "NaN"), "`NaN` is not a number"),
    "infinite": (OF_OLD.replace("1000000000", "1e999"), "not a number of 64 bits"),
    "true": (OF_OLD.replace("1000000000", "true"), "is not a number"),
    "late": (OF_OLD.replace("1000000000", str(1 << 63)), "record 0: "),
    "hot": (OF_OLD.replace('{"samples": 7}', '{"samples": 9999999999}'), "record 0: "),
    "a region is no region": (OF_OLD.replace('"start": 0, ', ""), "'start' is missing"),
    "no accesses": (OF_OLD.replace('"samples": 7', '"percent": null'), "without accesses"),
    "no list": ('[{"snapshots":[{"regions": 3}]}]', "`regions` is not a list"),
    "hot probes": (OF_TODAY.replace("[1, 2]", "[1, 4294967296]"), "more than 32 bits"),
    "filters": (OF_TODAY.replace('"matching": "yes"', '"matching": 3'), "neither true nor false"),
    "ours": (OF_OLD.replace('"target_id"', '"damonpolicy": 3, "target_id"'), "record 0: "),
    "intervals": (
        OF_OLD.replace('"target_id"', '"damonpolicy": {"sample":[], "aggregation":[]},"target_id"'),
        "intervals of some snapshots are missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_bad_files(tmp_path, content, reason):
    with pytest.raises(PolicyInvalid) as caught:
        damo.read(write(tmp_path, content))

    assert "damon.data` cannot be read as a record of damo: " in caught.value.message
    assert reason in caught.value.message


def test_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "RECORD_SMALL", limits.Limit("", 1 << 20, "bytes", ""))
    path = write(tmp_path, zlib.compress(b"[" + b" " * (32 << 20)))

    assert os.stat(path).st_size < 40_000
    with pytest.raises(PolicyInvalid, match="unpacks to more than"):
        damo.read(path)


def test_cut_off(tmp_path):
    with pytest.raises(PolicyInvalid, match="ends in the middle"):
        damo.read(write(tmp_path, zlib.compress(OF_TODAY.encode())[:-9]))


def test_damaged(tmp_path):
    with pytest.raises(PolicyInvalid, match="Error -3"):
        damo.read(write(tmp_path, b"\x78\x9c" + b"\xff" * 99))


def test_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "RECORD", limits.Limit("", 1, "bytes", ""))
    with pytest.raises(PolicyInvalid, match="it has more than"):
        damo.read(write(tmp_path, OF_OLD))


@same_directory
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["snapshots", "regions", "start", "end", "nr_accesses", "age", "samples",
                         "start_time", "end_time", "intervals", "damonpolicy", "record_list"]),
        inner, max_size=5),
))  # fmt: skip
def test_whatever_is_in_it_there_is_no_traceback(tmp_path, value):
    path = write(tmp_path, json.dumps([value, value]))
    with contextlib.suppress(PolicyInvalid):
        damo.read(path)


UNTOLD = """[{"kdamond_idx": 0, "intervals": null, "scheme_idx": null, "target_id": null, "snapshots": [
    {"start_time": "1000000000", "end_time": "1100000000", "regions": [
        {"start": "0", "end": "4096", "nr_accesses": {"samples": 7},
         "age": {"usec": null, "aggr_intervals": null}}]}]}]"""


def test_what_a_record_does_not_tell_stays_unknown_when_it_is_converted(tmp_path):
    (read,) = damo.read(write(tmp_path, UNTOLD))
    assert (read.source.guessed, read.source.ageless) == (True, True)

    write_record(str(tmp_path / "again.json"), [read], "damo-json")
    (record,) = json.loads((tmp_path / "again.json").read_text())
    assert record["intervals"] is None
    (snapshot,) = record["snapshots"]
    assert snapshot["sample_interval_us"] is None
    assert snapshot["regions"][0]["age"] == {"usec": None, "aggr_intervals": None}

    write_record(str(tmp_path / "kept.parquet"), [read], "parquet")
    for name in ("again.json", "kept.parquet"):
        (found,) = load_record(str(tmp_path / name))
        assert (found.source.guessed, found.source.ageless) == (True, True)
        assert found.aggregation.tolist() == read.aggregation.tolist()


def test_unknown_ages_and_guessed_intervals_are_shown_as_such(site, tmp_path):
    path = tmp_path / "untold.json"
    path.write_text(UNTOLD)
    shown = site.done("report", "snapshot", str(path))
    (snapshot,) = site.json("report", "snapshot", str(path))["data"]["snapshots"]

    assert "sampled each 5ms, summed up over 100ms (guessed: not recorded)" in shown.out
    assert shown.out.splitlines()[3].split() == ["0x0", "4KiB", "35%", "-", "-"]
    assert {"DP0691", "DP0692"} <= set(re.findall(r"DP\d+", shown.err))
    assert snapshot["intervals_guessed"] is True
    (region,) = snapshot["regions"]
    assert (region["age_us"], region["idle_us"], region["temperature"]) == (None, None, None)
    assert "nan" not in site.done("report", "snapshot", str(path), "--csv").out


def test_hits_of_probes_are_shown_by_number(site, tmp_path):
    path = tmp_path / "today.json"
    path.write_text(OF_TODAY)

    (snapshot, *_) = site.json("report", "snapshot", str(path), "--snapshot", "0")["data"][
        "snapshots"
    ]
    assert snapshot["regions"][0]["probe_hits"] == {"0": 1, "1": 2}
    assert "0=1 1=2" in site.done("report", "snapshot", str(path), "--snapshot", "0").out
