"""Text files of trace events, as printed by `perf script` and `trace-cmd report`, or by damo.

There is one series for each kdamond, scheme and target, as in damo. The text has only the end of a
snapshot, and no interval.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from damonpolicy.observe.collect.trace import NO_TARGET, Events, Runs, lost, parse
from damonpolicy.observe.records.damo_regions import Malformed
from damonpolicy.observe.regions import UNKNOWN, Array, Regions, Series, Source, offsets_of, stacked
from damonpolicy.plan.facts import Target

__all__ = ("by_target", "guessed", "lines", "read", "source_of")

_LONGEST_LINE = 1 << 16

_USUAL_SAMPLES, _USUAL_US = 20, 100_000
"""The default samples and length of an aggregation."""


def read(pieces: Iterable[bytes]) -> list[Series]:
    """Read lines of trace events, from pieces of a file.

    Snapshots with missing lines are left out. Raises ValueError if there are none.
    """
    runs = Runs.of(_events(pieces))
    if not len(runs):
        raise Malformed("there is no line of `damon_aggregated` or `damos_before_apply` in it")
    names = ("pid", "scheme", "target")
    keys = np.stack([runs.column(name).astype(np.uint64) for name in names])
    kinds, which = np.unique(keys, axis=1, return_inverse=True)
    which = which.reshape(-1)  # numpy 2.0 gives it a dimension more
    whole = np.flatnonzero(runs.whole)
    chosen = whole[np.argsort(which[whole], kind="stable")]
    ends = np.searchsorted(which[chosen], np.arange(1, kinds.shape[1]))
    made = [
        _series(runs, each, *kind)
        for each, kind in zip(np.split(chosen, ends), kinds.T.tolist(), strict=True)
    ]
    if not sum(map(len, made)):
        raise Malformed("no snapshot in it is complete")
    return [each for each in made if len(each)]


def _events(pieces: Iterable[bytes]) -> Events:
    """Read lines in batches, as text takes ten times the memory of columns."""
    parts: list[Events] = []
    rest, gap, tuned = "", 0, dict[str, int]()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in chain(pieces, (b"",)):
        text = rest + decoder.decode(piece, final=not piece)
        whole, line, rest = text.rpartition("\n") if piece else (text, "", "")
        if len(rest) > _LONGEST_LINE:
            rest = rest[:1]  # a line of this length is not an event
        if not (whole or line):
            continue
        found = parse(whole + line, gap, tuned)
        gap += lost(whole)
        if len(found):
            parts.append(found)
    return stacked(parts) if parts else parse("")


def _series(runs: Runs, chosen: Array, pid: int, scheme: int, target: int) -> Series:
    firsts = runs.first[chosen]
    ends = runs.events.time[firsts]
    if (ends[1:] < ends[:-1]).any():
        raise Malformed("its lines are not in the order of time")
    source = source_of(
        f"pid {pid}" if pid else "slot 0",
        None if scheme >> 63 else scheme,
        None if target == NO_TARGET else target,
    )
    rows = [np.arange(runs.first[run], runs.last[run]) for run in chosen]
    events = runs.events.take(np.concatenate(rows) if rows else np.empty(0, np.int64))
    # damo adds a fake one, so that there is a time before the first
    real = runs.events.accesses[firsts] >= 0
    if (events.accesses >= 0).sum() != sum(len(rows[each]) for each in np.flatnonzero(real)):
        raise Malformed("a region with less than 0 accesses")
    sample = runs.events.sample[firsts]
    lengths = (runs.last - runs.first)[chosen]
    events = events.take(events.accesses >= 0)
    source = replace(source, ageless=bool(len(events)) and not events.aged.any())
    regions = events.regions(np.full(len(events), source.target, np.int32))
    series = Series(
        source,
        _begins(ends)[real],
        ends[real],
        sample[real],
        np.zeros(int(real.sum()), np.int64),
        offsets_of(lengths[real]),
        regions,
    )
    return guessed(series, int(regions.accesses.max(initial=0)))


def source_of(kdamond: str, scheme: int | None, target: int | None, **more: Any) -> Source:
    """Return a source as damo knows it; a large target is an address of the kernel's."""
    known = target is not None and target < 1 << 31
    return Source(
        kdamond,
        scheme="" if scheme is None else str(scheme),
        target=target if target is not None and known else UNKNOWN,
        scheme_index=scheme or 0,
        targets=() if known or target is None else (Target(id=target),),
        origin="damo",
        **more,
    )


def _begins(ends: Array) -> Array:
    """Return the begin times of snapshots: the end of the previous one; the first is as long."""
    if len(ends) < 2:
        return ends
    usual = (ends[-1] - ends[0]) // (len(ends) - 1)
    return np.concatenate(([max(ends[0] - usual, 0)], ends[:-1]))


def guessed(series: Series, most: int) -> Series:
    """Fill in guesses for intervals that were not recorded, and are 0.

    An aggregation is as long as a typical snapshot, or 100 ms if there is none. It has 20 samples,
    the default, or the largest count, ``most``. If the sampling interval is known, because it is
    tuned, so is each aggregation: tuning changes both alike (mm/damon/core.c:
    kdamond_tune_intervals()).
    """
    unknown = series.aggregation == 0
    if not (unknown | (series.sample == 0)).any():
        return series
    lasted = (series.end - series.begin) // 1000
    usual = (int(np.median(lasted[unknown])) if unknown.any() else 0) or _USUAL_US
    samples = max(most, _USUAL_SAMPLES)
    told = unknown & (series.sample > 0)
    if told.any():
        samples = max(samples, int(np.median(np.round(lasted[told] / series.sample[told]))))
    aggregation = np.where(unknown, usual, series.aggregation)
    aggregation = np.where(told, series.sample * samples, aggregation)
    sample = np.where(series.sample == 0, aggregation // samples, series.sample)
    source = replace(series.source, guessed=True, tuned=series.source.tuned or bool(told.any()))
    return replace(series, source=source, sample=sample, aggregation=aggregation)


def by_target(series: Series) -> list[tuple[int, Series]]:
    """Split a series by target; a series of one target stays as it is."""
    found = series.targets or [UNKNOWN]
    if len(found) == 1:
        return [(found[0], series)]
    return [(target, series.where(series.regions.target == target)) for target in found]


def lines(series: Sequence[Series]) -> Iterator[str]:
    """Write lines in damo's form; nanoseconds are kept."""
    for kdamond, each in enumerate(series, 1):
        for target, own in by_target(each):
            head = f"kdamond.{each.source.slot} {kdamond} [000]"
            told = max(target, each.source.target, 0)
            for index, regions in enumerate(own):
                yield from _lines(head, int(own.end[index]), told, regions)
            if len(own) == 1:
                event = _event(2 * int(own.end[0]) - int(own.begin[0]), told, 1)
                yield f"{head} {event} 0-0: -1 -1\n"


def _event(time: int, target: int, count: int) -> str:
    seconds, rest = divmod(time, 1_000_000_000)
    event = "damon:damon_aggregated:"
    return f"{seconds}.{rest:09}: {event} target_id={target} nr_regions={count}"


def _lines(head: str, time: int, target: int, regions: Regions) -> Iterator[str]:
    event = _event(time, target, len(regions))
    columns = [
        each.tolist() for each in (regions.start, regions.end, regions.accesses, regions.age)
    ]
    for start, end, accesses, age in zip(*columns, strict=True):
        yield f"{head} {event} {start}-{end}: {accesses} {age}\n"
