"""Series for tests, fixed or random."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from damonpolicy.observe.regions import Intervals, Regions, Series, Source, series_of

MIB = 1 << 20
USUAL = Intervals(5_000, 100_000)
SECOND = 1_000_000_000


def series(*snapshots, source: Source | None = None, intervals: Intervals = USUAL) -> Series:
    """Snapshots of rows (start MiB, size MiB, accesses, age[, target[, passed MiB]]), 100 ms each."""
    made = []
    for number, rows in enumerate(snapshots):
        passed = [row[5] * MIB for row in rows if len(row) > 5]
        regions = Regions.of(
            [row[0] * MIB for row in rows],
            [(row[0] + row[1]) * MIB for row in rows],
            [row[2] for row in rows],
            [row[3] for row in rows],
            [row[4] if len(row) > 4 else -1 for row in rows],
            passed if rows and len(passed) == len(rows) else None,
        )
        end = SECOND + (number + 1) * intervals.aggregation * 1_000
        made.append((end - intervals.aggregation * 1_000, end, intervals, regions))
    return series_of(source or Source("p/k", "s"), made)


@st.composite
def regions_by_chance(draw, most=12):
    """Regions in ascending order, some of which touch."""
    rows, at = [], 0
    for _ in range(draw(st.integers(0, most))):
        at += draw(st.sampled_from((0, 0, 1, 7)))
        size = draw(st.integers(1, 9))
        rows.append(
            (at, size, draw(st.sampled_from((0, 0, 1, 20))), draw(st.sampled_from((0, 0, 3, 1000))),
             draw(st.sampled_from((0, 0, 1))), draw(st.integers(0, size)))
        )  # fmt: skip
        at += size
    return rows


def series_by_chance(most=4):
    return st.lists(regions_by_chance(), min_size=1, max_size=most).map(lambda each: series(*each))


def listed(values) -> list[int]:
    return [int(each) for each in np.asarray(values)]
