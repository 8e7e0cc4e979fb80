"""Assembly of DAMON's trace events, from tracefs, perf or trace-cmd, into snapshots.

An aggregation is one burst: for each target as many lines as ``nr_regions`` says, in ascending
order of address (mm/damon/core.c: kdamond_reset_aggregated())::

    kdamond.0-4452 [001] ..... 82877.315633: damon_aggregated: target_id=0 nr_regions=17 4096-8192: 0 3

The last numbers are accesses and age; the oldest kernels print no age. Where there are probes,
``damon_region_aggregated`` says the same and ``probe_hits=13 00``, a hexadecimal byte each; if both
events are traced, its line comes after the other. Lines of
``damos_before_apply`` tell in the same way what a scheme was applied to.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.observe.regions import UNKNOWN, Array, Regions, Table, stacked

__all__ = ("NO_TARGET", "Assembler", "Burst", "Events", "Runs", "lost", "parse")

_LINE = re.compile(
    r"^[ \t]*\S+?(?:-|[ \t]+)(?P<pid>\d{1,10}|x+)[ \t]+(?:(?:\[\d+\]|x+)[ \t]+)?(?:\S{3,9}[ \t]+)?"
    r"(?P<seconds>\d{1,10})\.(?P<fraction>\d{1,9}):[ \t]+(?:damon:)?(?:"
    r"(?:damon_aggregated|damon_(?P<again>region)_aggregated|damos_before_apply):[ \t]+"
    r"(?:ctx_idx=\d+ scheme_idx=(?P<scheme>\d{1,9}) target_idx=|target_id=)(?P<target>\d{1,20}|None)"
    r" nr_regions=(?P<count>\d{1,10}) (?P<start>\d{1,20})-(?P<end>\d{1,20}):"
    r" (?P<accesses>-1|\d{1,10})(?: (?P<age>-1|\d{1,10}|None))?"
    r"(?: probe_hits=(?P<hits> ?[0-9a-f]+(?: [0-9a-f]+)*)?)?"
    r"|damon_monitor_intervals_tune:[ \t]+sample_us=(?P<sample>\d{1,18}))[ \t\r]*$"
    r"|^CPU:\d+ \[LOST (?P<lost>\d{1,18}) EVENTS\][ \t\r]*$",
    re.MULTILINE | re.ASCII,
)

NO_TARGET = (1 << 64) - 1
"""The target that damo writes as `None` if unknown."""

_U32 = (1 << 32) - 1
_SAMPLE, _LOST = (_LINE.groupindex[name] - 1 for name in ("sample", "lost"))
_SAME = ("pid", "scheme", "target", "count", "start", "end", "accesses", "age")


@dataclass(frozen=True, slots=True)
class Events(Table):
    """Lines as columns.

    ``time`` is nanoseconds of the trace's clock; ``scheme`` is -1 for what was aggregated, ``hits``
    the text of hits, ``again`` whether the event is the one that tells them and so may tell of a
    region for the second time. ``gap`` grows where events were lost, ``sample`` is the kdamond's last tuned
    sampling interval in microseconds, 0 where there was none.
    """

    pid: Array
    time: Array
    scheme: Array
    target: Array
    count: Array
    start: Array
    end: Array
    accesses: Array
    age: Array
    hits: Array
    again: Array
    gap: Array
    sample: Array
    aged: Array
    """Whether the line has an age, unlike those of old kernels."""

    def regions(self, target: Array | None = None) -> Regions:
        """Return the rows as regions, with ``target`` instead of the events' own."""
        hits: list[list[int]] | None = None
        if len(self) and all(self.hits):
            hits = [[int(each, 16) for each in text.split()] for text in self.hits]
            if len({len(each) for each in hits}) > 1:
                hits = None
        found = self.target if target is None else target
        return Regions.of(self.start, self.end, self.accesses, self.age, found, hits=hits)


def parse(text: str, gap: int = 0, tuned: dict[str, int] | None = None) -> Events:
    """Read lines; lines of other events are left out.

    ``gap`` is that of the text before, ``tuned`` holds the last tuned sampling intervals of pids,
    and is brought up to date. Raises ValueError or OverflowError for a number that is
    larger than the kernel's.
    """
    rows: list[tuple[str, ...]] = []
    gaps: list[int] = []
    samples: list[int] = []
    tuned = {} if tuned is None else tuned
    for each in _LINE.findall(text):
        if each[_LOST]:
            gap += int(each[_LOST])
        elif each[_SAMPLE]:
            tuned[each[0]] = int(each[_SAMPLE])
        else:
            rows.append(each)
            gaps.append(gap)
            samples.append(tuned.get(each[0], 0))
    columns = list(zip(*rows, strict=True)) if rows else [()] * _LINE.groups
    texts: dict[str, tuple[str, ...]] = dict(zip(_LINE.groupindex, columns, strict=True))

    def numbers(name: str, kind: type, empty: int = 0) -> Array:
        other = {"": empty, "None": empty}
        values: Array = np.array([int(other.get(each, each)) for each in texts[name]], kind)
        if kind is np.int64 and (values > _U32).any():
            raise ValueError(f"a number of `{name}` has more than 32 bits")
        return values

    nanoseconds = np.array([int(each.ljust(9, "0")) for each in texts["fraction"]], np.int64)
    return Events(
        np.array([0 if each.startswith("x") else int(each) for each in texts["pid"]], np.int64),
        numbers("seconds", np.int64) * 1_000_000_000 + nanoseconds,
        numbers("scheme", np.int64, UNKNOWN),
        numbers("target", np.uint64, NO_TARGET),
        numbers("count", np.int64),
        numbers("start", np.uint64),
        numbers("end", np.uint64),
        numbers("accesses", np.int64),
        numbers("age", np.int64),
        np.array([each.strip() for each in texts["hits"]], object),
        np.array([bool(each) for each in texts["again"]], bool),
        np.array(gaps, np.int64),
        np.array(samples, np.int64),
        np.array([each not in ("", "None") for each in texts["age"]], bool),
    )


def lost(text: str) -> int:
    """Return the number of events that a text reports as lost."""
    return sum(int(each) for each in re.findall(r"\[LOST (\d{1,18}) EVENTS\]", text))


def _told_once(events: Events) -> Events:
    """Leave out rows whose region the next row repeats; rows of a kdamond are consecutive."""
    same = [getattr(events, name) for name in _SAME]
    twice = np.logical_and.reduce([each[1:] == each[:-1] for each in same])
    twice &= events.again[1:] & ~events.again[:-1]
    return events.take(~np.concatenate((twice, [False])))


@dataclass(frozen=True, slots=True)
class Runs:
    """Lines of one target each: rows ``first`` up to, but excluding, ``last`` of ``events``.

    Runs of one kdamond and scheme stand together, in the order of time. ``whole`` says whether
    there are as many lines as the kernel said. What schemes were applied to is always taken as
    whole: `nr_regions` is how many regions the target has, and a scheme is for some of them.
    """

    events: Events
    first: Array
    last: Array
    whole: Array

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of(cls, events: Events) -> Runs:
        """Find the begin and end of each target's lines.

        Lines of several kdamonds come between each other. Regions of a target ascend, so a run
        ends where they do not, where there are enough, or where events were lost.
        """
        if not len(events):
            return cls(events, *(np.empty(0, np.int64),) * 2, np.empty(0, bool))
        kept = _told_once(events.take(np.lexsort((events.scheme, events.pid))))  # it is stable
        same = [kept.pid, kept.scheme, kept.target, kept.count, kept.gap]
        new = np.logical_or.reduce([each[1:] != each[:-1] for each in same])
        new |= kept.start[1:] <= kept.start[:-1]
        begins = np.flatnonzero(np.concatenate(([True], new)))
        place = np.arange(len(kept)) - np.repeat(begins, np.diff([*begins, len(kept)]))
        first = np.flatnonzero(place % np.maximum(kept.count, 1) == 0)
        last = np.concatenate((first[1:], [len(kept)]))
        whole = (last - first == kept.count[first]) | (kept.scheme[first] != UNKNOWN)
        return cls(kept, first, last, whole)

    def column(self, name: str) -> Array:
        """Return a column of the first line of each run."""
        values: Array = getattr(self.events, name)[self.first]
        return values

    def rows(self, first: int, last: int) -> Events:
        """Return the lines of some consecutive runs."""
        return self.events.take(np.arange(self.first[first], self.last[last - 1]))


@dataclass(frozen=True, slots=True)
class Burst:
    """A kdamond's regions of one aggregation: all targets, at nanoseconds of the trace's clock."""

    pid: int
    time: int
    regions: Regions
    sample: int = 0
    """The tuned sampling interval in microseconds, 0 if unknown."""


class Assembler:
    """An incremental parser of text into bursts.

    A burst may go on in what is not read yet. So it is given out when the next one has begun, or
    when it ends with the last of the kdamond's targets, which ``targets`` tells by pid. Those of
    the pids of ``probing`` end with a line that tells hits, which may be in another text than
    the one before it.
    """

    def __init__(self) -> None:
        self.targets: dict[int, int] = {}
        self.probing: set[int] = set()
        self.lost = 0
        """Events that the kernel dropped."""
        self.broken = 0
        """Bursts, or parts of one, left out because of missing lines."""
        self._text = ""
        self._tuned: dict[str, int] = {}
        self._events = parse("")
        self._given: dict[int, Events] = {}
        """The last row returned without hits, by pid."""

    def feed(self, text: str) -> list[Burst]:
        """Take text, which may end anywhere, and return completed bursts."""
        whole, line, self._text = (self._text + text).rpartition("\n")
        return self._assemble(whole + line, final=False)

    def finish(self) -> list[Burst]:
        """Return the complete bursts of the rest, after the last text."""
        text, self._text = self._text, ""
        return self._assemble(text, final=True)

    def _assemble(self, text: str, *, final: bool) -> list[Burst]:
        events = parse(text, self.lost, self._tuned)
        events = self._new(events.take(events.scheme == UNKNOWN))
        self.lost += lost(text)
        runs = Runs.of(stacked([self._events, events]))
        pid, target = runs.column("pid"), runs.column("target")
        new = np.ones(len(runs), bool)
        new[1:] = (pid[1:] != pid[:-1]) | (target[1:] <= target[:-1])
        found, waiting = [], []
        for first, last in pairwise([*np.flatnonzero(new), len(runs)]):
            end = runs.last[last - 1]
            ended = int(target[last - 1]) + 1 == self.targets.get(int(pid[first]), -1)
            latest = last == len(runs) or pid[last] != pid[first]
            told = runs.events.again[end - 1] or int(pid[first]) not in self.probing
            if latest and not final and not (ended and told and runs.whole[first:last].all()):
                waiting.append(runs.rows(first, last))
            elif self._complete(runs, first, last, ended=ended):
                rows = runs.rows(first, last)
                sample = int(rows.sample[0])
                found.append(Burst(int(pid[first]), int(rows.time[0]), rows.regions(), sample))
                if latest and not runs.events.again[end - 1]:
                    self._given[int(pid[first])] = runs.events.take(np.array([end - 1]))
            else:
                self.broken += 1
        self._events = stacked([parse(""), *waiting])
        return sorted(found, key=lambda burst: burst.time)

    def _new(self, events: Events) -> Events:
        """Leave out lines with hits of regions that were already returned."""
        old: list[int] = []
        for pid, last in list(self._given.items()):
            rows = np.flatnonzero(events.pid == pid)[:1]
            if len(rows):
                del self._given[pid]
                if len(_told_once(stacked([last, events.take(rows)]))) == 1:
                    old.extend(rows)
        return events.take(np.setdiff1d(np.arange(len(events)), old)) if old else events

    @staticmethod
    def _complete(runs: Runs, first: int, last: int, *, ended: bool) -> bool:
        """Return whether no line, and no target, of a burst is missing."""
        pid, gap = runs.column("pid"), runs.column("gap")
        lost_after = last < len(runs) and pid[last] == pid[first] and gap[last] != gap[first]
        lost_before = runs.column("target")[first] > 0 and gap[first] > 0
        within = runs.whole[first:last].all() and (gap[first:last] == gap[first]).all()
        return bool(within and not lost_before and (ended or not lost_after))
