from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.observe.heatmap.matrix import (
    Area,
    Value,
    Window,
    areas,
    by_target,
    heatmap,
    hottest,
    on_one_scale,
    recorded,
    sorted_by_temperature,
    with_past,
    within,
)
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.plan.facts import Target

S = 1_000_000_000
TENTH = Intervals(5_000, 100_000)
"""20 samples of 5 ms in 100 ms."""
FIRST = 100 * S


def snapshot(at, regions, intervals=TENTH, **columns):
    """A snapshot that ends at a time in seconds since the first, of (start, end, accesses, age)."""
    end = FIRST + round(at * S)
    rows = list(zip(*regions, strict=True)) or [(), (), (), ()]
    return end - intervals.aggregation * 1000, end, intervals, Regions.of(*rows, **columns)


def series(*snapshots, **source):
    return series_of(Source("vm", "stat", **source), list(snapshots))


def window(begin, end, start, stop):
    return Window(FIRST + round(begin * S), FIRST + round(end * S), start, stop)


def values(map_):
    return [[None if np.isnan(each) else round(each, 6) for each in row] for row in map_.values]


def test_a_pixel_is_accesses_a_second_of_what_covers_it():
    seen = series(snapshot(0.1, [(0, 100, 10, 0), (100, 200, 0, 0)]))

    found = heatmap(seen, window(0, 0.1, 0, 200), (1, 2))

    # 10 samples in 100 ms
    assert values(found) == [[100, 0]]
    assert (found.shows, found.unit, found.name) == ("accesses", "accesses/s", "vm, scheme stat")


def test_address_spaces_that_lie_over_each_other_are_not_added_up():
    """Two processes with the same addresses, of which the kernel does not tell whose is whose."""
    rows = [(0, 100, 20, 0), (0, 100, 10, 0)]
    both = series(snapshot(0.1, rows), ops="vaddr", targets=(Target(1), Target(2)))

    found = heatmap(both, window(0, 0.1, 0, 100), (1, 2))

    assert values(found) == [[150, 150]], "their mean, and never more than the hottest"


def test_a_share_of_samples_is_the_same_at_all_intervals():
    slow = Intervals(100_000, 2_000_000)
    fast = series(snapshot(0.1, [(0, 100, 20, 0)]))
    tuned = series(snapshot(0.1, [(0, 100, 20, 0)]), snapshot(2.1, [(0, 100, 20, 0)], slow))
    percent = Value("percent")

    assert values(heatmap(fast, window(0, 0.1, 0, 200), (1, 1), percent)) == [[100]]
    found = heatmap(tuned, window(0, 2.1, 0, 100), (2, 1), percent)
    assert (values(found), found.unit) == ([[100], [100]], "%")
    rates = values(heatmap(tuned, window(0, 2.1, 0, 100), (2, 1)))
    assert rates[0] != rates[1], "accesses a second are not"


def test_the_only_target_that_is_seen_is_named():
    seen = series(snapshot(0.1, [(0, 100, 20, 0)], target=[0]), targets=(Target(8, "qemu"),))

    (only,) = by_target(seen)
    assert only.source.name == "vm, scheme stat, target 0 (pid 8 (qemu))"
    assert by_target(series(snapshot(0.1, [(0, 100, 20, 0)])))[0].source.target == -1
    assert len(by_target(series(snapshot(0.1, [])))) == 1


def test_maps_of_one_command_have_one_scale():
    maps = [
        heatmap(series(snapshot(0.1, [(0, 100, count, 0)])), window(0, 0.1, 0, 100), (1, 1))
        for count in (1, 20)
    ]

    assert [each.scale for each in maps] == [(0, 10), (0, 200)]
    assert [each.scale for each in on_one_scale(maps)] == [(0, 200)] * 2
    assert [each.scale for each in on_one_scale(maps, 50)] == [(0, 50)] * 2
    assert on_one_scale([]) == []
    cold, warm = (replace(maps[0], unit="", values=np.array([[at]])) for at in (-5.0, 7.0))
    assert [each.scale for each in on_one_scale([cold, warm])] == [(-5, 7)] * 2


def test_a_pixel_that_is_covered_in_part_has_that_part_of_the_heat():
    seen = series(snapshot(0.1, [(0, 50, 10, 0)]))

    assert values(heatmap(seen, window(0, 0.2, 0, 100), (1, 1))) == [[25]]


def test_age_fills_the_past_and_the_rest_stays_unknown():
    seen = series(snapshot(1, [(0, 100, 10, 4), (100, 200, 5, 9)]))

    found = heatmap(seen, window(0, 1, 0, 200), (10, 2))

    assert [row[0] for row in values(found)] == [None] * 5 + [100] * 5
    assert [row[1] for row in values(found)] == [50] * 10


def test_age_does_not_paint_over_what_an_earlier_snapshot_saw():
    seen = series(snapshot(0.5, [(0, 100, 20, 4)]), snapshot(1, [(0, 100, 10, 100)]))

    found = heatmap(seen, window(0, 1, 0, 100), (10, 1))

    assert [row[0] for row in values(found)] == [200] * 5 + [100] * 5


def test_each_snapshot_counts_by_its_own_aggregation():
    slow = Intervals(50_000, 1_000_000)
    seen = series(snapshot(1, [(0, 100, 10, 4)]), snapshot(4, [(0, 100, 10, 1)], slow))

    found = heatmap(seen, window(0, 4, 0, 100), (4, 1))

    # 5 of its tenths, then from 2 on, as its second of age tells
    assert [row[0] for row in values(found)] == [50, None, 10, 10]


def test_a_window_shows_a_part_and_nothing_beside_it():
    seen = series(snapshot(0.1, [(0, 50, 20, 0), (50, 100, 10, 0), (300, 400, 1, 0)]))

    assert values(heatmap(seen, window(0, 0.1, 40, 60), (1, 2))) == [[200, 100]]
    assert values(heatmap(seen, window(0, 0.1, 150, 250), (1, 2))) == [[None, None]]
    assert values(heatmap(seen, window(5, 6, 0, 100), (1, 1))) == [[None]]


def test_edges_are_whole_numbers_however_large_they_are():
    high = 0xFFFF_8000_0000_0000
    seen = series(snapshot(0.1, [(high, high + 3 * 4096, 20, 0)]))

    found = heatmap(seen, window(0, 0.1, high, high + 3 * 4096), (1, 3))

    assert values(found) == [[200] * 3]
    assert found.addresses == [high, high + 4096, high + 2 * 4096, high + 3 * 4096]
    assert found.times == [FIRST, FIRST + S // 10]


def test_passed_is_the_heat_of_the_share_that_passed():
    seen = series(snapshot(0.1, [(0, 100, 20, 0), (100, 200, 20, 0)], passed=[25, 0]))

    found = heatmap(seen, window(0, 0.1, 0, 200), (1, 2), Value("passed"))

    assert values(found) == [[50, 0]]
    assert "passed" in found.shows


def test_hits_of_a_probe_are_counted_a_second():
    seen = series(snapshot(0.1, [(0, 100, 20, 0)], hits=[[1, 4]]), probes=("reads", "writes"))

    found = heatmap(seen, window(0, 0.1, 0, 100), (1, 1), Value("hits", probe=1))

    assert values(found) == [[40]]
    assert (found.shows, found.unit) == ("hits of probe writes", "hits/s")


def test_temperature_is_a_mean_and_may_be_negative():
    seen = series(snapshot(0.1, [(0, 50, 20, 0), (50, 100, 0, 0), (100, 150, 0, 3)]))

    found = heatmap(seen, window(0, 0.1, 0, 200), (1, 2), Value("temperature"))

    # 100 % of weight 100; 300,000 us of weight 100, of the half that is known
    assert values(found) == [[5000, -30_000_000]]
    assert found.scale == (-30_000_000, 5000)


@pytest.mark.parametrize("value", [Value("passed"), Value("hits"), Value("hits", probe=3)])
def test_what_snapshots_do_not_tell_is_not_shown_as_nothing(value):
    seen = series(snapshot(0.1, [(0, 100, 20, 0)]))

    with pytest.raises(ValueError, match="these snapshots"):
        heatmap(seen, window(0, 0.1, 0, 100), (1, 1), value)


def test_areas_are_what_gaps_common_to_all_snapshots_part():
    seen = series(
        snapshot(0.1, [(0, 100, 2, 0), (200, 300, 1, 0)]),
        snapshot(0.2, [(100, 150, 4, 0), (250, 260, 0, 0), (500, 500, 9, 0)]),
    )

    found = areas(seen)

    assert [(each.start, each.end, each.accesses) for each in found] == [
        (0, 150, 400),
        (200, 300, 100),
    ]
    # (100 * 20 + 50 * 40) / 150, over two snapshots
    assert found[0].heat == pytest.approx(4000 / 150 / 2)
    assert hottest(found).start == 0
    assert areas(series(snapshot(0.1, []))) == []


def test_the_hottest_area_is_so_for_its_length():
    seen = series(snapshot(0.1, [(0, 1000, 2, 0), (2000, 2010, 3, 0)]))

    assert (hottest(areas(seen)).start, hottest(areas(seen)).size) == (2000, 10)


def test_within_cuts_regions_and_what_passed_of_them():
    seen = series(snapshot(0.1, [(0, 100, 2, 0), (200, 300, 1, 0)], passed=[40, 100]))

    found = within(seen, Area(50, 200))

    assert found.regions.start.tolist() == [50]
    assert found.regions.end.tolist() == [100]
    assert found.regions.passed.tolist() == [20]
    assert len(found) == 1


def test_sorted_bytes_begin_at_nothing_with_the_coldest():
    seen = series(
        snapshot(0.1, [(0, 100, 20, 5), (100, 150, 0, 9), (900, 910, 1, 1)]),
        snapshot(0.2, [(0, 10, 0, 1)]),
        snapshot(0.3, [(0, 10, 3, 1), (10, 30, 0, 1)]),
    )

    found = sorted_by_temperature(seen)

    rows = list(zip(found.regions.start.tolist(), found.regions.end.tolist(), strict=True))
    assert rows == [(0, 50), (50, 60), (60, 160), (0, 10), (0, 20), (20, 30)]
    assert found.regions.accesses.tolist() == [0, 1, 20, 0, 0, 3]
    hot = sorted_by_temperature(seen, hottest_first=True)
    assert hot.regions.accesses.tolist() == [20, 1, 0, 0, 3, 0]
    assert hot.regions.end.tolist()[:3] == [100, 110, 160]


def test_one_map_for_each_target():
    one = snapshot(0.1, [(0, 100, 2, 0), (0, 50, 1, 0)], target=[0, 1])

    parts = by_target(series(one, targets=(Target(1), Target(2))))

    assert [each.source.name for each in parts] == [
        "vm, scheme stat, target 0 (pid 1)",
        "vm, scheme stat, target 1 (pid 2)",
    ]
    assert [each.regions.end.tolist() for each in parts] == [[100], [50]]
    alone = series(snapshot(0.1, [(0, 100, 2, 0)]))
    assert by_target(alone) == [alone]


def test_time_that_is_recorded_and_time_that_is_known():
    seen = series(snapshot(1, [(0, 1, 0, 7)]), snapshot(2, [(0, 1, 0, 900)]))

    assert recorded(seen) == (FIRST + S - S // 10, FIRST + 2 * S)
    assert with_past(seen) == (FIRST + S - S // 10 * 8, FIRST + 2 * S)
    assert recorded(series()) == with_past(series()) == (0, 0)


@st.composite
def records(draw):
    """Some snapshots, with gaps in time and address, and intervals that change."""
    made, at = [], 0.0
    for _ in range(draw(st.integers(1, 4))):
        intervals = Intervals(5_000, draw(st.sampled_from((100_000, 200_000))))
        at += draw(st.sampled_from((0.2, 0.25, 1.0)))
        edges = sorted(draw(st.sets(st.integers(0, 64), min_size=2, max_size=8)))
        regions = [
            (start * 4096, end * 4096, draw(st.integers(0, 20)), draw(st.integers(0, 12)))
            for start, end in itertools.pairwise(edges)
            if draw(st.booleans())
        ]
        made.append(snapshot(at, regions, intervals))
    return series(*made)


def rectangles(seen):
    """Return (begin, end, start, end, accesses a second) of each region, the slow way."""
    until = -float("inf")
    for index, regions in enumerate(seen):
        begin, end = int(seen.begin[index]), int(seen.end[index])
        length = int(seen.aggregation[index])
        for row in range(len(regions)):
            first = max(begin - int(regions.age[row]) * length * 1000, until)
            heat = int(regions.accesses[row]) * 1e6 / length
            yield first, end, int(regions.start[row]), int(regions.end[row]), heat
        until = max(until, end)


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
windows = st.builds(
    lambda begin, length, start, size: window(
        begin / 20, (begin + length) / 20, start * 4096, (start + size) * 4096
    ),
    st.integers(-30, 40),
    st.integers(1, 60),
    st.integers(0, 40),
    st.integers(1, 40),
)


@given(records(), windows, shapes)
def test_pixels_are_what_every_region_gives_every_pixel(seen, shown, shape):
    found = heatmap(seen, shown, shape)

    step = ((shown.end - shown.begin) / shape[0], (shown.stop - shown.start) / shape[1])
    for row in range(shape[0]):
        for column in range(shape[1]):
            total, known = 0.0, 0.0
            for begin, end, start, stop, heat in rectangles(seen):
                time = min(end, shown.begin + (row + 1) * step[0])
                time -= max(begin, shown.begin + row * step[0])
                size = min(stop, shown.start + (column + 1) * step[1])
                size -= max(start, shown.start + column * step[1])
                if time > 0 and size > 0:
                    total += heat * time * size / step[0] / step[1]
                    known = max(known, time / step[0] * size / step[1])
            value = found.values[row, column]
            if known > 1e-6:  # below, rounding decides whether they touch
                assert value == pytest.approx(total, rel=1e-6, abs=1e-6)
            elif known == 0:
                assert np.isnan(value) or value == pytest.approx(0, abs=1e-3)


@given(records(), windows, shapes)
def test_heat_is_kept(seen, shown, shape):
    found = heatmap(seen, shown, shape)

    pixel = (shown.end - shown.begin) / shape[0] * (shown.stop - shown.start) / shape[1]
    total = sum(
        heat
        * max(min(end, shown.end) - max(begin, shown.begin), 0)
        * max(min(stop, shown.stop) - max(start, shown.start), 0)
        for begin, end, start, stop, heat in rectangles(seen)
    )
    assert np.nansum(found.values) * pixel == pytest.approx(total, rel=1e-9, abs=1)


@given(records())
def test_sorting_keeps_bytes_and_heat(seen):
    found = sorted_by_temperature(seen)

    assert [each.total for each in found] == [each.total for each in seen]
    for each in found:
        assert each.start.tolist() == [0, *each.end.tolist()[:-1]][: len(each)]
    shown = (*recorded(seen), 0, 64 * 4096)
    before, after = (
        np.nansum(heatmap(each, Window(*shown), (5, 5)).values) for each in (seen, found)
    )
    # ages of what is cut off by the window are the same, as only addresses move
    assert after == pytest.approx(before, rel=1e-6, abs=1e-6)


@given(records())
def test_areas_hold_every_region_and_no_more(seen):
    covered = np.zeros(64, dtype=bool)
    for _, _, start, stop, _ in rectangles(seen):
        covered[start // 4096 : stop // 4096] = True
    found = areas(seen)

    shown = np.zeros(64, dtype=bool)
    for area in found:
        shown[area.start // 4096 : area.end // 4096] = True
    assert (shown == covered).all()
    assert all(low.end < high.start for low, high in itertools.pairwise(found))
