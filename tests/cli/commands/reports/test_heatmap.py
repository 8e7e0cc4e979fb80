from __future__ import annotations

import json
import os

import pytest

from damonpolicy.base.errors import DamonPolicyError, UsageError
from damonpolicy.cli.commands.reports import heatmap
from damonpolicy.cli.commands.reports.inputs import Inputs
from damonpolicy.cli.context import Invocation
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.plan.facts import Target

S = 1_000_000_000
BEGUN = 1_790_000_000 * S
MIB = 1 << 20
HOT = 0x10_0000_0000
COLD = 0x20_0000_0000
TENTH = Intervals(5_000, 100_000)


def record(count=10, *, passed=None, target=None, **source):
    """Ten tenths of a second: a MiB that is hot, and elsewhere four that are not."""
    rows = [
        Regions.of(
            [HOT, COLD],
            [HOT + MIB, COLD + 4 * MIB],
            [20, 1],
            [0, 30 if index == 0 else index],
            passed=passed,
            target=target,
            hits=[[3], [0]],
        )
        for index in range(count)
    ]
    told = Source("vm/writes", "stat", probes=("writes",), **source)
    return series_of(
        told,
        [
            (BEGUN + index * S // 10, BEGUN + (index + 1) * S // 10, TENTH, each)
            for index, each in enumerate(rows)
        ],
    )


@pytest.fixture
def report(monkeypatch):
    """Run the command over series instead of files."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "42")
    monkeypatch.setenv("LINES", "15")

    def run(*arguments, seen=None, form="text"):
        found = [record()] if seen is None else seen
        monkeypatch.setattr(Inputs, "load", lambda self, _: [self._weighed(each) for each in found])
        return heatmap.command.main(
            list(arguments), standalone_mode=False, obj=Invocation(form=form)
        )

    return run


def maps(result):
    json.dumps(result.data)
    return result.data["maps"]


def test_the_hottest_area_is_drawn_in_the_window(report):
    lines = report().text.splitlines()

    assert lines[0] == "vm/writes, scheme stat: accesses, 0x1000000000-0x1000100000 (1MiB)"
    assert lines[1].endswith("|" + "9" * 30)
    assert lines[-1] == "0123456789  0 to 200 accesses/s, 20 each; blank: unknown"
    assert len(lines) < 15


def test_the_same_colour_is_the_same_value_in_all_maps(report):
    def legend(*options):
        text = report("--range", "all", *options).text
        return [line for line in text.splitlines() if line.startswith("0123456789")]

    assert legend() == ["0123456789  0 to 200 accesses/s, 20 each; blank: unknown"] * 2
    assert legend("--scale", "50") == ["0123456789  0 to 50 accesses/s, 5 each; blank: unknown"] * 2
    percent = "0123456789  0 to 80 %, 8 each; blank: unknown"
    assert legend("--value", "percent", "--scale", "80%") == [percent] * 2


@pytest.mark.parametrize("text", ["0", "-1", "hot", "nan", "inf"])
def test_a_scale_is_a_number_above_0(report, text):
    with pytest.raises(UsageError, match="is not a number above 0"):
        report("--scale", text)


@pytest.mark.parametrize(
    ("form", "side", "instead"), [("csv", 1500, 1414), ("html", 1500, 1414), ("png", 3000, 2828)]
)
def test_all_maps_of_a_file_together_are_bounded(report, tmp_path, form, side, instead):
    out = str(tmp_path / f"map.{form}")
    with pytest.raises(UsageError) as raised:
        report("--range", "all", "--out", out, "--resolution", f"{side}x{side}")

    assert f"`--resolution {side}x{side}` of 2 maps is more than" in raised.value.message
    assert raised.value.hint == f"write for example `{instead}x{instead}`"
    assert not os.path.exists(out)


def test_a_file_of_text_is_small_unless_asked_for(report, tmp_path):
    report("--range", "all", "--out", str(tmp_path / "map.csv"))
    assert len((tmp_path / "map.csv").read_text().splitlines()) <= 1 + 2 * 80 * 40


def test_many_maps_of_a_page_share_its_pixels(report, tmp_path):
    pytest.importorskip("plotly")
    maps = report("--range", "all", "--range", "all", "--out", str(tmp_path / "map.html")).data[
        "maps"
    ]
    assert [each["resolution"] for each in maps] == [[353, 353]] * 4


def test_what_may_mislead_is_said(report):
    codes = lambda *options, **more: [  # noqa: E731
        each.code for each in report(*options, seen=[record(**more)]).diagnostics
    ]

    assert codes() == []
    assert codes(tuned=True) == ["DP0690"]
    assert codes("--value", "percent", tuned=True) == []
    two = {"ops": "vaddr", "targets": (Target(1), Target(2))}
    assert codes(**two) == ["DP0633"]
    assert codes(**two, target=[0, 1]) == []
    assert (
        codes(
            ops="paddr",
            targets=(Target(size_bytes=1 << 30, regions=1), Target(size_bytes=1 << 30, regions=1)),
        )
        == []
    )


def test_colours_where_they_are_forced(report, monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    assert "\x1b[48;5;229m" in report("--colours", "flame").text


def test_json_has_the_matrix(report):
    (only,) = maps(report("--range", "all", "--resolution", "2x1", form="json"))[1:]

    assert only["values"] == [[10.0], [10.0]]
    assert only["resolution"] == [2, 1]
    assert [each["resolution"] for each in maps(report(form="json"))] == [[80, 40]]


def test_ranges_are_given_in_addresses_or_sizes(report):
    first, second = maps(
        report("--range", "0x1000000000-0x1000200000", "--range", "128GiB..129GiB",
               "--resolution", "1x2", form="json")
    )  # fmt: skip

    assert first["values"] == [[200.0, None]]
    assert second["addresses"] == {"start": 128 << 30, "end": 129 << 30}


@pytest.mark.parametrize("past", ["--time=-1s-0", "--time=-1s..0", "--time=-1s..-0"])
def test_time_is_from_the_first_snapshot(report, past):
    (only,) = maps(report("--time", "500ms-", "--resolution", "5x1", form="json"))
    assert only["time_ns"]["begin"] == BEGUN + S // 2
    assert only["values"] == [[200.0]] * 5

    (before,) = maps(report(past, "--range", "hottest", "--resolution", "1x1", form="json"))
    assert before["values"] == [[None]]
    assert before["time_ns"] == {"begin": BEGUN - S, "end": BEGUN, "origin": BEGUN}


def test_ages_tell_of_the_time_before_one_snapshot_or_where_asked(report):
    one = maps(report("--range", "all", seen=[record(1)], form="json"))
    asked = maps(report("--range", "all", "--time", "all", form="json"))
    recorded = maps(report("--range", "all", form="json"))

    for found, begin in ((one, BEGUN - 3 * S), (asked, BEGUN - 3 * S), (recorded, BEGUN)):
        assert {each["time_ns"]["begin"] for each in found} == {begin}


def test_values_are_chosen(report):
    seen = [record(passed=[MIB // 4, 0])]

    (passed,) = maps(report("--value", "passed", "--resolution", "1x1", seen=seen, form="json"))
    assert passed["values"] == [[50.0]]
    (hits,) = maps(report("--probe", "writes", "--resolution", "1x1", form="json"))
    assert (hits["values"], hits["shows"]) == ([[30.0]], "hits of probe writes")
    (warm,) = maps(report("--value", "temperature", "--resolution", "1x1", form="json"))
    assert (warm["values"], warm["unit"]) == ([[10000.0]], None)
    weighed = ["--value", "temperature", "--temperature-weights", "0,7,0", "--resolution", "1x1"]
    assert maps(report(*weighed, form="json"))[0]["values"] == [[700.0]]


def test_bytes_are_sorted_by_temperature(report):
    both = ["--range", f"{HOT:#x}-{COLD + 4 * MIB:#x}", "--sort", "temperature"]

    (last,) = maps(report(*both, "--resolution", "1x5", form="json"))
    (first,) = maps(report(*both, "--hottest-first", "--resolution", "1x5", form="json"))

    assert last["addresses"] == {"start": 0, "end": 5 * MIB}
    assert last["sorted"] == "hottest last"
    # the cold are so for longer, and so they are further from cold than the hot are from hot
    assert sorted(last["values"][0]) == sorted(first["values"][0])
    assert last["values"][0] != first["values"][0]


def test_one_map_for_each_source_and_target(report):
    seen = [record(), record(target=[0, 1], targets=(Target(7), Target(8)))]

    found = maps(report(seen=seen, form="json"))

    assert [each["name"] for each in found] == [
        "vm/writes, scheme stat",
        "vm/writes, scheme stat, target 0 (pid 7)",
        "vm/writes, scheme stat, target 1 (pid 8)",
    ]


@pytest.mark.parametrize("name", ["map.png", "map.svg", "map.pdf", "map.html", "map.csv"])
def test_files_are_written(report, tmp_path, name):
    result = report("--range", "all", "--out", str(tmp_path / name), "--resolution", "20x20")

    assert result.text == f"wrote 2 maps to {tmp_path / name}\n"
    assert (tmp_path / name).stat().st_size > 1000
    assert [each["resolution"] for each in maps(result)] == [[20, 20]] * 2


def test_a_file_that_cannot_be_written_is_named(report, tmp_path):
    with pytest.raises(DamonPolicyError, match="cannot be written: no such file"):
        report("--out", str(tmp_path / "nowhere" / "map.csv"))


def test_the_guide_lists_times_and_areas(report):
    assert report("--guide").text == (
        "vm/writes, scheme stat\n"
        "  time: 1s from 2026-09-21 14:13:20 UTC, 10 snapshots; ages tell of 3s before\n"
        "  area 0x1000000000-0x1000100000: 1MiB, 200 accesses/s, the hottest\n"
        "  area 0x2000000000-0x2000400000: 4MiB, 10 accesses/s\n"
    )
    (told,) = report("--guide", form="json").data["sources"]
    assert [each["hotness"] for each in told["areas"]] == [200.0, 10.0]


def scattered(count=60):
    """So many areas that nobody wants a map of each."""
    starts = [index * 8192 for index in range(count)]
    rows = Regions.of(starts, [each + 4096 for each in starts], list(range(count)), [0] * count)
    return series_of(Source("vm"), [(BEGUN, BEGUN + S // 10, TENTH, rows)])


def test_too_many_areas_are_not_drawn_but_counted(report):
    with pytest.raises(UsageError) as raised:
        report("--range", "all", seen=[scattered()])

    assert "20 at most" in raised.value.message
    assert "--guide" in raised.value.hint
    assert report("--guide", seen=[scattered()]).text.endswith("  40 colder areas\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--range", "coldest"], "`coldest` is not an address"),
        (["--range", "0x1000"], "`0x1000` is not a range of addresses"),
        (["--range", "2GiB-1GiB"], "`--range 2GiB-1GiB` has no length"),
        (["--time", "10s"], "`10s` is not a range of times"),
        (["--time", "5-6"], "`5` has no unit"),
        (["--time", "2s-1s"], "`--time 2s-1s` has no length"),
        (["--resolution", "500"], "`500` is not a resolution"),
        (["--resolution", "0x5"], "`--resolution` is from 1x1 to 10000x10000"),
        (["--resolution", "9999x9999"], "`--resolution 9999x9999` is more than 4,000,000 pixels"),
        (["--value", "passed"], "these snapshots do not say which bytes passed"),
        (["--probe", "write"], "vm/writes, scheme stat has no probe `write`"),
        (["--hottest-first"], "`--hottest-first` is about `--sort temperature`: give both"),
        (["--out", "map.gif"], "`map.gif` does not end as a file that is known"),
    ],
)
def test_what_is_mistaken_has_a_hint(report, arguments, message):
    with pytest.raises(UsageError) as raised:
        report(*arguments)

    assert raised.value.message == message
    assert raised.value.hint or "from 1x1" in message or "give both" in message


def test_nothing_to_show_is_no_empty_picture(report):
    with pytest.raises(DamonPolicyError, match="there is no region to show"):
        report(seen=[])
