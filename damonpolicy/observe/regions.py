"""Columns of DAMON's results: regions, snapshots of them, and records of snapshots.

One row of `Regions` is one region of one snapshot. Ten thousand regions and hours of snapshots
are normal, so everything is a column of numpy, and formulas work on whole columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field, fields, replace
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from damonpolicy.base.lazy import dataclass
from damonpolicy.plan.facts import ALL, Accesses, Filter, Target

__all__ = (
    "UNKNOWN",
    "Array",
    "Intervals",
    "Regions",
    "Series",
    "Source",
    "Table",
    "offsets_of",
    "series_of",
    "stacked",
    "taken",
)

Array: TypeAlias = npt.NDArray[Any]
Held = TypeVar("Held")
"""A dataclass of columns of equal length."""

UNKNOWN = -1
"""The target of a region if the kernel does not report it."""


def taken(columns: Held, which: Any) -> Held:
    """Return some rows of each column, by a mask, indices or a slice; all else stays."""
    whole: Any = columns
    values = ((each.name, getattr(whole, each.name)) for each in fields(whole))
    cut = {name: value[which] for name, value in values if isinstance(value, np.ndarray)}
    made: Held = replace(whole, **cut)
    return made


class Table:
    """Columns of equal length; the fields of a dataclass."""

    __slots__: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(getattr(self, self.__slots__[0]))

    def take(self, which: Any) -> Self:
        """Return some rows: a mask, indices or a slice."""
        return taken(self, which)


def stacked(parts: Sequence[Held]) -> Held:
    """Concatenate the columns of one part or more; one that some lack is left out.

    So is one that is not as wide in all of them.
    """
    whole: Any = parts[0]
    found: dict[str, Array | None] = {}
    for name in (each.name for each in fields(whole)):
        columns = [getattr(each, name) for each in parts]
        arrays = [each for each in columns if isinstance(each, np.ndarray)]
        if len(arrays) == len(parts) and len({each.shape[1:] for each in arrays}) == 1:
            found[name] = np.concatenate(arrays)
        elif arrays:
            found[name] = None
    made: Held = replace(whole, **found)
    return made


def offsets_of(counts: Any) -> Array:
    """Return where the rows of each snapshot begin, and the end of the last, by their counts."""
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Regions(Table):
    """Regions, with their addresses and accesses.

    ``start`` and ``end`` (first byte and the byte after the last) are bytes, ``accesses`` is how
    many samples of the aggregation found it accessed, ``age`` for how many aggregations that has
    been so, ``target`` the index of the target it is of (-1: unknown). ``passed`` holds the bytes
    that passed the scheme's page filters, None where the kernel does not tell; ``hits`` has the
    shape (regions, probes), with the hits of each probe.
    """

    start: Array
    end: Array
    accesses: Array
    age: Array
    target: Array
    passed: Array | None = None
    hits: Array | None = None

    @property
    def size(self) -> Array:
        """Bytes of each region."""
        return self.end - self.start

    @property
    def total(self) -> int:
        """Bytes of all regions."""
        return int(self.size.sum())

    @classmethod
    def of(
        cls,
        start: Any,
        end: Any,
        accesses: Any,
        age: Any,
        target: Any = None,
        passed: Any = None,
        hits: Any = None,
    ) -> Regions:
        """Convert sequences to columns; the target is unknown unless given."""
        first = np.asarray(start, dtype=np.uint64)
        counts = None if hits is None else np.asarray(hits, dtype=np.uint32)
        if counts is not None:
            counts = counts.reshape(len(first), -1) if counts.size else None
        return cls(
            first,
            np.asarray(end, dtype=np.uint64),
            np.asarray(accesses, dtype=np.uint32),
            np.asarray(age, dtype=np.uint32),
            np.full(len(first), UNKNOWN, np.int32)
            if target is None
            else np.asarray(target, dtype=np.int32),
            None if passed is None else np.asarray(passed, dtype=np.uint64),
            counts,
        )

    @classmethod
    def joined(cls, parts: Sequence[Regions]) -> Regions:
        """Concatenate rows; a column that one non-empty part lacks is left out."""
        parts = [each for each in parts if len(each)] or parts[:1]
        return stacked(parts) if parts else cls.of((), (), (), ())


@dataclass(frozen=True, slots=True)
class Intervals:
    """The sampling and aggregation intervals, in microseconds."""

    sample: int
    aggregation: int

    @property
    def samples(self) -> int:
        """The largest count of accesses of an aggregation, at least 1."""
        return max(self.aggregation // max(self.sample, 1), 1)


@dataclass(frozen=True, slots=True)
class Source:
    """The source of snapshots.

    ``kdamond`` is its full name (``ksm/vm-writes``), or ``slot 0`` where nobody has given it one;
    ``scheme`` is the name of the scheme that tried the regions, empty for those of trace events.
    ``target`` is the only target that is seen, -1 for all. ``filters`` are the scheme's, in the
    kernel's order, ``probes`` names the probes in their order. ``weights`` are those of temperature:
    size, access rate, age. ``tuned``: the intervals are being tuned.
    """

    kdamond: str
    scheme: str = ""
    target: int = UNKNOWN
    slot: int = 0
    scheme_index: int = 0
    ops: str = ""
    filters: tuple[Filter, ...] = ()
    probes: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    """The targets, by index."""
    accesses: Accesses = ALL
    """The counted accesses."""
    weights: tuple[int, int, int] = (0, 100, 100)
    tuned: bool = False
    origin: str = "regions"
    """``regions`` (tried_regions of a scheme), ``trace`` (trace events), or ``damo``."""
    guessed: bool = False
    """Whether the intervals were not recorded."""
    ageless: bool = False
    """Whether ages were not recorded: those in columns are meaningless."""

    @property
    def name(self) -> str:
        """Its name for people: kdamond, scheme, target."""
        parts = [self.kdamond]
        if self.scheme:
            parts.append(f"scheme {self.scheme}")
        if self.target != UNKNOWN:
            known = self.targets[self.target].name if 0 <= self.target < len(self.targets) else ""
            parts.append(f"target {self.target}" + (f" ({known})" if known else ""))
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Series:
    """Snapshots of one source in the order of time.

    ``begin`` and ``end`` are nanoseconds since the epoch, ``sample`` and ``aggregation``
    microseconds, one of each a snapshot. Rows ``offsets[i]`` to ``offsets[i + 1]`` of ``regions``
    are those of snapshot ``i``; each snapshot's are in ascending order of target and address.
    """

    source: Source
    begin: Array
    end: Array
    sample: Array
    aggregation: Array
    offsets: Array
    regions: Regions = field(repr=False)
    as_damo: bool = False
    """Whether reports compute numbers as damo does: access rates are truncated to whole
    percents.
    """

    def __len__(self) -> int:
        return len(self.begin)

    def intervals(self, index: int) -> Intervals:
        """Return the intervals of a snapshot."""
        return Intervals(int(self.sample[index]), int(self.aggregation[index]))

    def snapshot(self, index: int) -> Regions:
        """Return the regions of one snapshot."""
        number = range(len(self))[index]
        return self.regions.take(slice(int(self.offsets[number]), int(self.offsets[number + 1])))

    def __iter__(self) -> Iterator[Regions]:
        return (self.snapshot(index) for index in range(len(self)))

    @property
    def of_row(self) -> Array:
        """The number of the snapshot that each row belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def between(self, first: int, last: int) -> Series:
        """Return snapshots ``first`` up to, but excluding, ``last``."""
        low, high = int(self.offsets[first]), int(self.offsets[last])
        return replace(
            taken(self, slice(first, last)),
            offsets=self.offsets[first : last + 1] - low,
            regions=self.regions.take(slice(low, high)),
        )

    def where(self, rows: Array) -> Series:
        """Return the rows of a mask; snapshots stay, even without regions."""
        kept = np.bincount(self.of_row[rows], minlength=len(self))
        return replace(self, offsets=offsets_of(kept), regions=self.regions.take(rows))

    @property
    def targets(self) -> list[int]:
        """The targets of its rows, in order."""
        return [int(each) for each in np.unique(self.regions.target)]

    def of_target(self, target: int) -> Series:
        """Return the rows of one target (-1: unknown)."""
        rows = self.where(self.regions.target == target)
        return replace(rows, source=replace(self.source, target=target))


def series_of(source: Source, snapshots: Sequence[tuple[int, int, Intervals, Regions]]) -> Series:
    """Make a series of snapshots: begin and end (ns since the epoch), intervals, regions."""
    counts = [len(each[3]) for each in snapshots]
    heads = [(begin, end, used.sample, used.aggregation) for begin, end, used, _ in snapshots]
    begin, end, sample, aggregation = np.array(heads, np.int64).reshape(-1, 4).T.copy()
    regions = Regions.joined([each[3] for each in snapshots])
    return Series(source, begin, end, sample, aggregation, offsets_of(counts), regions)
