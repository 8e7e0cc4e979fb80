"""The live view of a scene: order, filter, zoom, strip, and words."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.base.units import UnitError
from damonpolicy.observe.collect.modules import ModuleStatus
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.observe.status import live_view
from damonpolicy.observe.status.live_view import (
    Scene,
    View,
    heading,
    old,
    read_filter,
    rows,
    scheme_lines,
    span,
    strip,
    zoomed,
)
from damonpolicy.observe.watermarks import Watch
from damonpolicy.plan.facts import Accesses, Target

TENTH = Intervals(5_000, 100_000)
PAGE = 4096
SOURCE = Source("p/k", "cold", targets=(Target(1),))


def series(*regions, end=2, **source):
    columns = list(zip(*regions, strict=True)) or [(), (), (), ()]
    taken = replace(SOURCE, **source)
    return series_of(taken, [(1, end, TENTH, Regions.of(*columns))])


HOT = (0, 2 * PAGE, 20, 3)
WARM = (2 * PAGE, 6 * PAGE, 5, 1)
COLD = (6 * PAGE, 7 * PAGE, 0, 9)
ALL = [series(HOT, WARM, COLD)]


def starts(view):
    return [row.start // PAGE for row in rows(ALL, view, 9).shown]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("temperature", [0, 2, 6]),
        ("size", [2, 0, 6]),
        ("rate", [0, 2, 6]),
        ("age", [6, 0, 2]),
        ("address", [0, 2, 6]),
    ],
)
def test_orders(sort, expected):
    assert starts(View(sort)) == expected
    assert starts(View(sort, reverse=True)) == expected[::-1]


def test_the_same_key_again_turns_the_order_round():
    view = View().sorted_by("size")
    assert (view.sort, view.reverse) == ("size", False)
    assert view.sorted_by("size").reverse
    assert not view.sorted_by("size").sorted_by("size").reverse
    assert not view.sorted_by("size").sorted_by("age").reverse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 2, 6]),
        ("size>=8KiB", [0, 2]),
        ("size<8KiB", [6]),
        ("rate>0%", [0, 2]),
        ("rate=25%", [2]),
        ("age>200ms", [0, 6]),
        ("temperature<=0", [6]),
        ("temperature>-1 age<=100ms", [2]),
        ("address>=0x2000 size>4KiB", [2]),
        ("target=0", [0, 2, 6]),
        ("target=1", []),
        ("scheme=cold", [0, 2, 6]),
        ("scheme=co", []),
        ("col", [0, 2, 6]),
        ("warm", []),
    ],
)
def test_filters(text, expected):
    assert starts(View("address", conditions=read_filter(text))) == expected


@pytest.mark.parametrize("text", ["size>2", "colour=red", "age>1", "temperature>warm", "rate>x%"])
def test_filters_that_say_nothing(text):
    with pytest.raises(UnitError):
        read_filter(text)


def test_a_row_in_words():
    row = rows(ALL, View(), 9).shown[0]
    assert row.cells == ("0x0", "8KiB", "100%", "300ms", "30M", "0", "cold")
    unknown = rows([series(HOT, targets=(), scheme="")], View(), 9).shown[0]
    assert unknown.cells[-2:] == ("-", "-")


def test_what_was_hardly_accessed_is_not_at_zero():
    """3 of 400 samples found it accessed."""
    columns = Regions.of((0, PAGE), (PAGE, 2 * PAGE), (3, 0), (90, 90))
    found = [series_of(SOURCE, [(1, 2, Intervals(5_000, 2_000_000), columns)])]

    hardly, never = (row.cells for row in rows(found, View(), 9).shown)

    assert hardly[2:5] == ("<1%", "3m", "18G")
    assert never[2:5] == ("0%", "3m", "-18G")


@pytest.mark.parametrize(
    ("microseconds", "expected"),
    [
        (0, "0"),
        (1_500, "1ms500us"),
        (1_500_700, "1s500ms"),
        (125_300_000, "2m5s"),
        (3_725_000_000, "1h2m"),
    ],
)
def test_ages_are_short(microseconds, expected):
    assert live_view.short(microseconds) == expected


def test_schemes_are_shown_together():
    found = rows([series(HOT), series(COLD, scheme="other"), series()], View("address"), 9)
    assert [row.scheme for row in found.shown] == ["cold", "other"]
    assert (found.count, found.bytes) == (2, 3 * PAGE)


def test_what_there_is_and_what_is_shown():
    assert rows(ALL, View(), 9).text == "3 regions, 28KiB"
    assert rows(ALL, View(), 2).text == "first 2 of 3 regions, 28KiB"
    some = View(conditions=read_filter("size<8KiB"))
    assert rows(ALL, some, 9).text == "1 region, 4KiB (of 3, 28KiB)"
    assert rows([], View(), 9).text == "0 regions, 0B"
    assert rows([series_of(SOURCE, [])], View(), 9).text == "0 regions, 0B"


def test_zoom_is_around_an_address_and_within_the_whole():
    whole = (0, 64 * PAGE)
    view = zoomed(View(), whole, 32 * PAGE, 0.25)
    assert view.zoom == (24 * PAGE, 40 * PAGE)
    assert zoomed(View(), whole, 63 * PAGE, 0.25).zoom == (48 * PAGE, 64 * PAGE)
    assert zoomed(View(), whole, 0, 0.25).zoom == (0, 16 * PAGE)
    assert zoomed(view, whole, 32 * PAGE, 4).zoom is None, "the whole is no range"
    assert zoomed(View(), None, 0, 0.25) == View()
    near = View(zoom=(0, PAGE))
    assert zoomed(near, whole, 0, 0.25).zoom == (0, PAGE), "no nearer than a page"
    assert starts(View("address", zoom=(PAGE, 3 * PAGE))) == [0, 2]


def test_the_span_of_what_was_seen():
    assert span(ALL) == (0, 7 * PAGE)
    assert span([]) is None


def test_the_strip_is_the_mean_of_the_bytes_there():
    # 2 pages at 100 %, 4 at 25 %, 1 at 0 %
    assert strip(ALL, View(), 7) == "@@----."
    # 100 % twice; 25 % and 25 %; 25 % twice; the last half page alone
    assert strip(ALL, View(zoom=(0, 8 * PAGE)), 4) == "@--."
    gap = [series(HOT, (6 * PAGE, 8 * PAGE, 20, 0))]
    assert strip(gap, View(), 4) == "@  @"
    assert strip(gap, View(conditions=read_filter("address>0")), 4) == "   @"
    assert strip([], View(), 9) == ""
    assert strip(ALL, View(), 0) == ""


def test_how_old_numbers_are():
    second = 10**9

    def text(now):
        return old(Scene(series=[series(HOT, end=second)]), int(now * second))

    assert [text(now) for now in (0, 1, 3.25, 126)] == ["fresh", "fresh", "2s old", "2m5s old"]
    assert old(Scene(), 0) == "no regions"


KDAMOND = {
    "slot": 3, "name": "ksm/vms", "state": "on", "paused": False, "ops": "vaddr",
    "accesses": asdict(Accesses("writes")), "targets": [asdict(Target(each)) for each in (1, 2, 3)],
    "schemes": [
        {
            "name": "cold", "action": "stat", "quota": {"size_bytes": 200 << 20, "time_ms": None, "every_ms": 1000},
            "effective_quota": 1 << 20,
            "statistics": {"sz_tried": 4096, "sz_applied": 1024, "qt_exceeds": 7},
            "watermarks": None,
            "goals": [
                {
                    "metric": "some_mem_psi_us", "target": 500, "current": 250, "node": None,
                    "cgroup": None, "fed": True,
                },
                {
                    "metric": "node_mem_used_bp", "target": 9000, "current": None, "node": 1,
                    "cgroup": "/vms", "fed": True,
                },
            ],
        },
    ],
}  # fmt: skip


def test_the_kdamond_in_words():
    scene = Scene([{**KDAMOND, "slot": 0}, KDAMOND], 3)
    assert heading(scene) == ("[2/2] ksm/vms: on, slot 3, vaddr, accesses writes, pid 1, pid 2 +1")
    other = Scene([{**KDAMOND, "name": None, "paused": True, "targets": []}], 3)
    assert heading(other) == ("[1/1] somebody else: on, paused, slot 3, vaddr, accesses writes")
    assert heading(Scene()) == "no kdamond runs"


def test_schemes_quotas_and_goals_in_words():
    assert scheme_lines(Scene([KDAMOND], 3)) == [
        (
            "cold: stat, tried 4KiB, applied 1KiB so far, quota 200MiB every 1s (exceeded 7 times),"
            " in effect 1MiB"
        ),
        "  goal some_mem_psi_us: 250us of 500us",
        "  goal node_mem_used_bp of node 1 for /vms: 90%",
    ]
    assert scheme_lines(Scene()) == []


def test_a_module_of_the_kernel_says_what_it_does_and_whether_it_sleeps():
    watch = Watch(620, 500, 400, 200)
    scene = Scene(modules=[ModuleStatus("damon_reclaim", watch)])

    assert heading(scene) == ("no kdamond of a policy runs: damon_reclaim of the kernel does")
    assert scheme_lines(scene) == [f"damon_reclaim: {watch.words}"]


def test_what_a_scheme_selects_now_is_its_regions():
    told = series_of(
        replace(SOURCE, scheme="cold"),
        [(1, 2, TENTH, Regions.of([0], [8192], [0], [9], passed=[4096]))],
    )
    (line, *_) = scheme_lines(Scene([KDAMOND], 3, [told]))
    assert line.startswith("cold: stat, now 8KiB (4KiB passed), tried 4KiB, ")
    (line, *_) = scheme_lines(Scene([KDAMOND], 3, [replace(told, source=SOURCE)]))
    assert line.startswith("cold: stat, now 8KiB (4KiB passed)")
    traced = replace(told, source=replace(SOURCE, scheme="", origin="trace"))
    (line, *_) = scheme_lines(Scene([KDAMOND], 3, [traced]))
    assert line.startswith("cold: stat, tried 4KiB, ")


def test_a_scheme_that_sleeps_says_why_and_what_nobody_asked_is_no_number():
    (scheme,) = KDAMOND["schemes"]
    sleeps = {"asleep": True, "why": "asleep: 62% of memory is free, above high 50%"}
    unasked = {
        **scheme, "goals": [], "quota": None, "effective_quota": None, "watermarks": sleeps,
        "statistics": dict.fromkeys(scheme["statistics"]),
    }  # fmt: skip

    def lines(scheme):
        return scheme_lines(Scene([{**KDAMOND, "schemes": [scheme]}], 3))

    assert lines(unasked) == ["cold: stat, not asked what it did so far", f"  {sleeps['why']}"]
    awake = {**unasked, "watermarks": {"asleep": False, "why": "awake"}}
    assert lines(awake) == ["cold: stat, not asked what it did so far"]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 20), st.integers(0, 9)), max_size=20),
    st.sampled_from(live_view.SORTS),
    st.booleans(),
)
def test_every_region_is_shown_once_in_any_order(pieces, sort, reverse):
    place, regions = 0, []
    for size, accesses, age in pieces:
        regions.append((place, place + size, accesses, age))
        place += size
    found = rows([series(*regions)], View(sort, reverse=reverse), 99)
    assert sorted(row.start for row in found.shown) == [each[0] for each in regions]
    assert found.bytes == found.all_bytes == place
