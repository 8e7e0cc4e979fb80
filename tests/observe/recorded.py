"""Random records, and their equality."""

from __future__ import annotations

from typing import get_args

import numpy as np
from hypothesis import strategies as st

from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.plan.facts import Accesses, Counted, Filter, Target

NOW = 1_700_000_000_000_000_000
ANY_TARGET = st.integers(-1, 3)
U32, U64 = (1 << 32) - 1, (1 << 64) - 1

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)

numbers = st.integers(0, U64)
filters = st.lists(
    st.builds(
        Filter, type=words, matching=st.booleans(), allow=st.booleans(), path=words, low=numbers,
        high=numbers,
    ),
    max_size=2,
).map(tuple)  # fmt: skip
kinds = st.sampled_from(get_args(Counted))
accesses = st.builds(Accesses, kind=kinds, cpus=words, threads=words, faults=st.booleans())
targets = st.builds(
    Target, pid=numbers, process=words, size_bytes=numbers, regions=numbers,
    obsolete=st.booleans(), id=numbers,
)  # fmt: skip

sources = st.builds(
    Source,
    kdamond=words,
    scheme=words,
    target=st.integers(-1, 5),
    slot=st.integers(0, 9),
    scheme_index=st.integers(0, 9),
    ops=st.sampled_from(("", "vaddr", "paddr")),
    filters=filters,
    accesses=accesses,
    probes=st.lists(words, max_size=2).map(tuple),
    targets=st.lists(targets, max_size=2).map(tuple),
    weights=st.tuples(*[st.integers(0, 1000)] * 3),
    tuned=st.booleans(),
    origin=st.sampled_from(("regions", "trace", "damo")),
)


@st.composite
def regions(draw, *, passed, probes, targets=ANY_TARGET):
    count = draw(st.integers(0, 4))

    def column(values):
        return draw(st.lists(values, min_size=count, max_size=count))

    rows = sorted(zip(column(targets), column(st.integers(0, U64)), strict=True))
    return Regions.of(
        [start for _, start in rows],
        column(st.integers(0, U64)),
        column(st.integers(0, U32)),
        column(st.integers(0, U32)),
        [target for target, _ in rows],
        column(st.integers(0, U64)) if passed else None,
        [column_of(draw, probes) for _ in range(count)] if probes else None,
    )


def column_of(draw, probes):
    return draw(st.lists(st.integers(0, 255), min_size=probes, max_size=probes))


@st.composite
def snapshots(draw, **options):
    passed, probes = draw(st.booleans()), draw(st.integers(0, 2))
    count = draw(st.integers(0, 4))
    times = sorted(draw(st.lists(st.integers(0, 1 << 62), min_size=count, max_size=count)))
    return [
        (
            max(time - draw(st.integers(0, 1 << 30)), 0),
            time,
            Intervals(draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 40))),
            draw(regions(passed=passed, probes=probes, **options)),
        )
        for time in times
    ]


@st.composite
def records(draw, **options):
    own = draw(st.lists(sources, max_size=3, unique=True))
    return [series_of(source, draw(snapshots(**options))) for source in own]


def plain(series):
    """Everything of a series as Python's own values; columns without any row count as missing."""
    own = series.regions
    return {
        "source": series.source,
        "begin": series.begin.tolist(),
        "end": series.end.tolist(),
        "sample": series.sample.tolist(),
        "aggregation": series.aggregation.tolist(),
        "offsets": series.offsets.tolist(),
        "start": own.start.tolist(),
        "region_end": own.end.tolist(),
        "accesses": own.accesses.tolist(),
        "age": own.age.tolist(),
        "target": own.target.tolist(),
        "passed": None if own.passed is None or not len(own) else own.passed.tolist(),
        "hits": None if own.hits is None or not len(own) else own.hits.tolist(),
    }


def large(snapshots, regions, source=None):
    """A series of equal numbers of regions, made at once."""
    rng = np.random.default_rng(1)
    edges = np.sort(rng.integers(0, 1 << 34, regions + 1)).astype(np.uint64) * np.uint64(4096)
    one = [
        (
            NOW + 100_000_000 * number,
            NOW + 100_000_000 * (number + 1),
            Intervals(5000, 100_000),
            Regions.of(
                edges[:-1], edges[1:], rng.integers(0, 20, regions), rng.integers(0, 99, regions)
            ),
        )
        for number in range(snapshots)
    ]
    return series_of(source or Source("p/k", "s"), one)
