from __future__ import annotations

import pytest

from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.observe.records import damo
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.observe.temperature import access_percent, samples_of_rows
from damonpolicy.plan.facts import Target
from tests.observe.collect.test_trace import burst, line
from tests.observe.recorded import NOW

SECOND = 1_000_000_000
INTERVALS = Intervals(5000, 100_000)


def read(tmp_path, text):
    path = tmp_path / "text"
    path.write_text(text)
    return damo.read(str(path))


def test_one_series_a_target(tmp_path):
    """As damo has it; snapshots follow each other, the first is taken to be as long as usual."""
    text = "# a heading\n" + "".join(burst(1 + number / 10, (2, 1)) for number in range(3))
    first, second = read(tmp_path, text)

    assert first.source == Source("pid 40", target=0, origin="damo", guessed=True)
    assert second.source == Source("pid 40", target=1, origin="damo", guessed=True)
    assert first.begin.tolist() == [SECOND * each // 10 for each in (9, 10, 11)]
    assert first.end.tolist() == [SECOND * each // 10 for each in (10, 11, 12)]
    assert first.offsets.tolist() == [0, 2, 4, 6]
    assert first.aggregation.tolist() == [100_000] * 3
    assert first.sample.tolist() == [5000] * 3
    assert second.regions.target.tolist() == [1] * 3


def test_one_snapshot_has_the_usual_intervals(tmp_path):
    """Nothing tells how long its aggregation was."""
    (series,) = read(tmp_path, burst(1))

    assert (series.sample.tolist(), series.aggregation.tolist()) == ([5_000], [100_000])


def test_more_samples_than_usual(tmp_path):
    text = "".join(line(0, count=1, time=1 + each, accesses=50) for each in range(3))
    (series,) = read(tmp_path, text)

    assert series.intervals(0) == Intervals(20_000, 1_000_000)


def test_schemes_and_old_targets(tmp_path):
    applied = line(0, count=1).replace(
        "damon_aggregated: target_id", "damos_before_apply: ctx_idx=0 scheme_idx=3 target_idx"
    )
    old = line(0, count=1, target=18446623435582458880)
    both = {each.source.scheme: each for each in read(tmp_path, applied + old)}

    assert both["3"].source == Source(
        "pid 40", "3", target=0, scheme_index=3, origin="damo", guessed=True
    )
    assert both[""].source.targets == (Target(id=18446623435582458880),)
    assert both[""].regions.target.tolist() == [-1]


def test_a_target_that_damo_does_not_know(tmp_path):
    (found,) = read(tmp_path, burst(1).replace("target_id=0", "target_id=None"))

    assert found.source == Source("pid 40", origin="damo", guessed=True)


def series(*counts, source=None):
    snapshots = []
    for number, count in enumerate(counts):
        starts = [4096 * each for each in range(count)]
        regions = Regions.of(starts, [each + 5 for each in starts], range(count), range(count))
        end = NOW + number * 100_000_000 + 7
        snapshots.append((end - 100_000_000, end, INTERVALS, regions))
    return series_of(source or Source("p/k"), snapshots)


@pytest.mark.parametrize("counts", [(2, 3, 2), (4,)])
def test_what_we_write_is_read(tmp_path, counts):
    made = series(*counts)
    damo.write(str(tmp_path / "text"), [made], "perf_script")
    (found,) = read(tmp_path, (tmp_path / "text").read_text())

    assert found.begin.tolist() == made.begin.tolist()
    assert found.end.tolist() == made.end.tolist()
    assert found.offsets.tolist() == made.offsets.tolist()
    assert found.regions.start.tolist() == made.regions.start.tolist()
    assert found.regions.end.tolist() == made.regions.end.tolist()
    assert found.regions.accesses.tolist() == made.regions.accesses.tolist()
    assert found.regions.age.tolist() == made.regions.age.tolist()
    assert found.aggregation.tolist() == made.aggregation.tolist()


def test_what_we_write_of_several_targets(tmp_path):
    two = Regions.of([0, 4096, 0], [5, 5000, 6], [1, 2, 3], [4, 5, 6], [0, 0, 1])
    made = series_of(
        Source("p/k"), [(NOW + each, NOW + each + 1, INTERVALS, two) for each in (0, 1)]
    )
    damo.write(str(tmp_path / "text"), [made], "perf_script")
    found = read(tmp_path, (tmp_path / "text").read_text())

    assert [each.source.target for each in found] == [0, 1]
    assert [len(each.regions) for each in found] == [4, 2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello\n", "no line of `damon_aggregated`"),
        (line(0, count=2), "no snapshot in it is complete"),
        (burst(2) + burst(1), "not in the order of time"),
        (line(0, count=1) + line(1, count=2, accesses=-1) + line(2, count=2, time=2),
         "less than 0 accesses"),
        (burst(1, (1,)).replace(" 3 7", " 3 9999999999"), "`age` has more than 32 bits"),
        (burst(1, (1,)).replace("4096:", "99999999999999999999:"), "too large|out of bounds"),
    ],
)  # fmt: skip
def test_bad_text(tmp_path, text, reason):
    with pytest.raises(PolicyInvalid, match=reason):
        read(tmp_path, text)


def test_a_constant_access_rate_stays_one_while_intervals_are_tuned(tmp_path):
    """Each aggregation is as long as its own sampling interval says."""
    text, now = "", 1.0
    for sample in (5_000, 20_000, 20_000, 100_000, 40_000):
        text += f" kdamond.0-40 [001] ..... {now:.6f}: damon_monitor_intervals_tune: sample_us={sample}\n"
        for _ in range(3):
            now += 20 * sample / 1e6
            text += line(0, count=1, time=now, accesses=4)
    (found,) = read(tmp_path, text)

    assert (found.sample * 20 == found.aggregation).all()
    assert set(access_percent(found.regions.accesses, samples_of_rows(found)).tolist()) == {20}
    assert found.source.tuned


def test_ages_that_lines_do_not_tell_are_unknown(tmp_path):
    """Kernels before 5.17 do not."""
    old = line(0, count=1).replace(": 3 7\n", ": 3\n")
    (found,) = read(tmp_path, old)
    assert found.source.ageless

    (told,) = read(tmp_path, old + line(0, count=1, time=2.5))
    assert not told.source.ageless


def test_what_a_scheme_was_applied_to_is_read_though_it_is_not_all(tmp_path):
    """`nr_regions` is how many the target has; the scheme was for two of 17, then for one."""
    text = "".join(
        line(number, count=17, time=time).replace(
            "damon_aggregated: target_id", "damos_before_apply: ctx_idx=0 scheme_idx=1 target_idx"
        )
        for number, time in ((3, 1), (9, 1.001), (3, 2))
    )
    (series,) = read(tmp_path, text)

    assert series.source.scheme == "1"
    assert series.offsets.tolist() == [0, 2, 3]
