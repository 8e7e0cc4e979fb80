from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.observe.collect.trace import Assembler, Runs, parse

US = 1000


def line(number, first=0, *, pid=40, target=0, count=2, time=1.5, accesses=3, age=7, more=""):
    start = first + 4096 * number
    return (
        f"       kdamond.0-{pid}      [001] .....  {time:.6f}: damon_aggregated: target_id={target}"
        f" nr_regions={count} {start}-{start + 4096}: {accesses} {age}{more}\n"
    )


def burst(time, counts=(2,), pid=40, first=0):
    return "".join(
        line(number, first, pid=pid, target=target, count=count, time=time + target * 1e-6)
        for target, count in enumerate(counts)
        for number in range(count)
    )


def seen(bursts):
    """Return pid, microseconds and the regions' targets of each burst."""
    return [(each.pid, each.time // US, each.regions.target.tolist()) for each in bursts]


@pytest.mark.parametrize(
    "text",
    [
        "kdamond.0  4452 [000] 82877.315633: damon:damon_aggregated: target_id=1 nr_regions=17 ",
        "kdamond.0-4452 [005] ..... 82877.315633: damon_aggregated:     target_id=1 nr_regions=17 ",
        "  <...>-4452 [000] 82877.315633: damon_aggregated:     target_id=1 nr_regions=17 ",
        "kdamond.x 4452 xxxx 82877.315633: damon:damon_aggregated: target_id=1 nr_regions=17 ",
        "kdamond.0 4452 [000] 82877.315633: damon:damos_before_apply: ctx_idx=0 scheme_idx=2 target_idx=1 nr_regions=17 ",
    ],
)
def test_a_line_of_each_program(text):
    events = parse(f"# a comment\n{text}140731667070976-140731668037632: 5 3\nfoo\n\n")

    assert len(events) == 1
    assert events.pid.tolist() == [4452]
    assert events.time.tolist() == [82_877_315_633_000]
    assert events.scheme.tolist() == [2 if "scheme" in text else -1]
    assert (events.target.tolist(), events.count.tolist()) == ([1], [17])
    assert (events.start[0], events.end[0]) == (140731667070976, 140731668037632)
    assert (events.accesses.tolist(), events.age.tolist()) == ([5], [3])


def test_no_age_hits_and_tuned_intervals():
    text = (
        "kdamond.0-9 [0] 1.5: damon_aggregated: target_id=0 nr_regions=1 0-4096: 5\r\n"
        "kdamond.0-9 [0] 1.6: damon_monitor_intervals_tune: sample_us=80000\n"
        "kdamond.0-9 [0] 1.7: damon_region_aggregated: target_id=0 nr_regions=1 0-4096: 5 6"
        " probe_hits=13 00 \n"
    )
    events = parse(text)

    assert events.age.tolist() == [0, 6]
    assert events.sample.tolist() == [0, 80_000]
    assert events.regions().hits is None
    assert parse(text.splitlines()[2]).regions().hits.tolist() == [[19, 0]]


def told_twice(time, hits=" probe_hits=13 00"):
    """Return a burst as `damon:*` tells it on 7.2 and later."""
    return "".join(
        each + each.replace("damon_agg", "damon_region_agg").replace("\n", f"{hits}\n")
        for each in burst(time).splitlines(keepends=True)
    )


@pytest.mark.parametrize(
    ("hits", "found"), [(" probe_hits=13 00", [[19, 0]] * 2), (" probe_hits=", None)]
)
def test_a_region_that_both_events_tell_of_is_one(hits, found):
    events = Runs.of(parse(told_twice(1, hits))).events

    assert events.start.tolist() == parse(burst(1)).start.tolist()
    told = events.regions().hits
    assert (told if told is None else told.tolist()) == found


def test_both_events_may_come_in_texts_of_their_own():
    text = told_twice(1) + told_twice(2)
    for cut in range(len(text)):
        assembler = Assembler()
        assembler.targets, assembler.probing = {40: 1}, {40}

        found = [*assembler.feed(text[:cut]), *assembler.feed(text[cut:])]

        assert seen(found) == [(40, 1_000_000, [0, 0]), (40, 2_000_000, [0, 0])]
        assert [each.regions.hits.tolist() for each in found] == [[[19, 0]] * 2] * 2
        assert assembler.broken == 0


def test_both_events_of_several_kdamonds_come_between_each_other():
    one, two = (told_twice(1).replace("-40 ", f"-{pid} ").splitlines(True) for pid in (40, 41))
    mixed = "".join(each for pair in zip(one, two, strict=True) for each in pair)
    assert mixed.count("-41 ") == len(two)
    assembler = Assembler()

    assert seen([*assembler.feed(mixed), *assembler.finish()]) == [
        (40, 1_000_000, [0, 0]), (41, 1_000_000, [0, 0])
    ]  # fmt: skip
    assert assembler.broken == 0


def test_hits_that_come_where_none_were_awaited_break_nothing():
    """A probe that was added meanwhile: the first burst is out before its last hits come."""
    text = told_twice(1) + told_twice(2)
    for cut in range(len(text)):
        assembler = Assembler()
        assembler.targets = {40: 1}

        found = [*assembler.feed(text[:cut]), *assembler.feed(text[cut:])]

        assert seen(found) == [(40, 1_000_000, [0, 0]), (40, 2_000_000, [0, 0])]
        assert assembler.broken == 0


def test_one_region_that_stays_as_it_is_is_seen_each_time():
    again = burst(1, (1,)).replace("damon_aggregated", "damon_region_aggregated")

    assert len(Runs.of(parse(again + again))) == 2
    assert len(Runs.of(parse(burst(1, (1,)) * 2))) == 2


def test_intervals_are_tuned_kdamond_by_kdamond():
    tune = line(0, time=1).partition("damon_aggregated")[0]
    assembler = Assembler()
    assembler.targets = {40: 1, 41: 1}
    found = assembler.feed(f"{tune}damon_monitor_intervals_tune: sample_us=70\n" + burst(1))
    found += assembler.feed(burst(2) + burst(2, pid=41))

    assert [(each.pid, each.sample) for each in found] == [(40, 70), (40, 70), (41, 0)]


def test_hits_of_other_numbers_of_probes_are_left_out():
    both = "".join(
        line(n, more=more) for n, more in enumerate([" probe_hits=1", " probe_hits=1 2"])
    )

    assert parse(both).regions().hits is None


def test_lines_of_several_kdamonds_come_between_each_other():
    mixed = "".join(
        each
        for pair in zip(*(burst(1.5, pid=pid).splitlines(keepends=True) for pid in (1, 2)),
                        strict=True)
        for each in pair
    )  # fmt: skip
    runs = Runs.of(parse(mixed))

    assert runs.column("pid").tolist() == [1, 2]
    assert runs.whole.all()


def test_no_lines():
    assert len(Runs.of(parse(""))) == 0
    assert Assembler().finish() == []


def test_a_burst_is_given_out_when_the_next_one_begins():
    assembler = Assembler()

    assert assembler.feed(burst(1.5, (2, 3))) == []
    assert seen(assembler.feed(burst(1.6, (2, 3)))) == [(40, 1_500_000, [0, 0, 1, 1, 1])]
    assert seen(assembler.finish()) == [(40, 1_600_000, [0, 0, 1, 1, 1])]
    assert assembler.finish() == []


def test_or_when_it_is_known_to_be_complete():
    assembler = Assembler()
    assembler.targets = {40: 2}

    assert assembler.feed(burst(1.5, (2,))) == []
    assert seen(assembler.feed(burst(1.5, (2, 3)).partition("target_id=1")[2])) == []
    assembler = Assembler()
    assembler.targets = {40: 2}
    assert seen(assembler.feed(burst(1.5, (2, 3)))) == [(40, 1_500_000, [0, 0, 1, 1, 1])]


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), max_size=6), st.randoms())
def test_text_may_come_in_any_pieces(bursts, chance: random.Random):
    text = "".join(burst(1 + number, counts) for number, counts in enumerate(bursts))
    assembler = Assembler()
    found, place = [], 0
    while place < len(text):
        size = chance.randrange(1, 400)
        found += assembler.feed(text[place : place + size])
        place += size
    found += assembler.finish()

    assert [[t for t, count in enumerate(counts) for _ in range(count)] for counts in bursts] == [
        each.regions.target.tolist() for each in found
    ]
    assert (assembler.lost, assembler.broken) == (0, 0)


@pytest.mark.parametrize("missing", range(1, 9))
def test_a_burst_with_a_missing_line_is_left_out(missing):
    lines = "".join(burst(1 + number, (4,)) for number in range(3)).splitlines(keepends=True)
    lines[missing] = "CPU:1 [LOST 1 EVENTS]\n"
    assembler = Assembler()
    assembler.targets = {40: 1}
    times = [each.time for each in [*assembler.feed("".join(lines)), *assembler.finish()]]

    kept = [number for number in range(3) if number != missing // 4]
    assert [(1 + number) * 1_000_000_000 for number in kept] == times
    assert assembler.lost == 1
    assert assembler.broken > 0


@pytest.mark.parametrize("missing", [0, 1])
def test_a_burst_without_one_of_its_targets_is_left_out(missing):
    whole = burst(2, (1, 1)).splitlines(keepends=True)
    whole[missing] = "CPU:1 [LOST 1 EVENTS]\n"
    assembler = Assembler()
    text = burst(1, (1, 1)) + "".join(whole) + burst(3, (1, 1))
    found = [*assembler.feed(text), *assembler.finish()]

    # the one before it is complete, but that is not known
    assert [each.time // 1_000_000_000 for each in found] in ([1, 3], [3])
    assert all(len(each.regions) == 2 for each in found)


def test_lines_of_two_bursts_are_not_taken_for_one():
    """The end of one and the beginning of the next may look like as many as there should be."""
    lines = (burst(1, (4,)) + burst(2, (4,), first=1 << 30)).splitlines(keepends=True)
    text = "".join([*lines[:2], "CPU:0 [LOST 4 EVENTS]\n", *lines[6:]])
    assembler = Assembler()

    assert [*assembler.feed(text), *assembler.finish()] == []
    assert assembler.broken == 2


def test_memory_that_moved_up_is_a_burst_of_its_own():
    assembler = Assembler()
    text = burst(1, (2,)) + burst(2, (2,), first=1 << 30)

    assert len([*assembler.feed(text), *assembler.finish()]) == 2


def test_what_a_scheme_was_applied_to_is_no_part_of_it():
    applied = line(0, count=1).replace(
        "damon_aggregated: target_id", "damos_before_apply: ctx_idx=0 scheme_idx=0 target_idx"
    )
    assembler = Assembler()

    assert len([*assembler.feed(applied + burst(2)), *assembler.finish()]) == 1


def test_ten_thousand_regions_at_once():
    text = burst(1, (10_000,)) + burst(2, (10_000,))
    assembler = Assembler()
    before = time.process_time()
    (first,) = assembler.feed(text)

    assert len(first.regions) == 10_000
    assert time.process_time() - before < 2
