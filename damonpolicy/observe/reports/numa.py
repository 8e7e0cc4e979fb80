"""NUMA: accesses of each node's CPUs to each node's memory, and hot and cold memory by node.

The first needs kdamonds that count only the accesses of some CPUs: one for the CPUs of each node.
Without them, only the node of each byte is known, not who accesses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import UnitError, read_cpulist
from damonpolicy.kernel.system.memory import Range
from damonpolicy.observe.collect.merge import Seen, in_ranges, rounds, seen
from damonpolicy.observe.regions import Array, Series
from damonpolicy.plan.facts import Accesses

__all__ = ("Matrix", "Placement", "Touch", "cpus_counted", "matrices", "placement")

Node = int | None
"""A node; None is for memory outside all nodes' System RAM."""

_HALF = 50


@dataclass(frozen=True, slots=True)
class Touch:
    """A row of the matrix: the accessing CPUs, and bytes per second by node of memory.

    ``node`` is that of the CPUs, None if they belong to several.
    """

    cpus: tuple[int, ...]
    node: int | None
    kdamonds: tuple[str, ...]
    rates: Mapping[Node, float]

    @property
    def total(self) -> float:
        """Bytes a second."""
        return sum(self.rates.values())

    @property
    def hit(self) -> float:
        """Bytes a second of the CPUs' own node."""
        return 0.0 if self.node is None else self.rates.get(self.node, 0.0)

    @property
    def miss(self) -> float:
        """Bytes a second of other nodes; of CPUs of several nodes, neither is known."""
        if self.node is None:
            return 0.0
        return sum(
            rate for node, rate in self.rates.items() if node is not None and node != self.node
        )


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows that count the same kind of accesses: ``all``, ``reads`` or ``writes``."""

    counts: str
    nodes: tuple[Node, ...]
    rows: tuple[Touch, ...]

    @property
    def total(self) -> float:
        """Bytes a second of all rows."""
        return sum(row.total for row in self.rows)

    def share(self, rate: float) -> float | None:
        """Return a part of the total, from 0 to 1; None if nothing was accessed."""
        return rate / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Placement:
    """Bytes of one node that are hot, warm and cold, and bytes a second."""

    node: Node
    hot: int
    warm: int
    cold: int
    rate: float

    @property
    def total(self) -> int:
        """The bytes seen."""
        return self.hot + self.warm + self.cold


def cpus_counted(accesses: Accesses) -> tuple[int, ...]:
    """Return the CPUs whose accesses count; empty for all."""
    try:
        return read_cpulist(accesses.cpus) if accesses.cpus else ()
    except UnitError:
        return ()


def matrices(
    series: Sequence[Series],
    ram: Mapping[int, Sequence[Range]],
    cpus: Mapping[int, Collection[int]],
) -> list[Matrix]:
    """Return one matrix for each kind of access that kdamonds count by CPU.

    ``ram`` and ``cpus`` are those of each node. Numbers are of the last snapshots; accesses of the
    same CPUs that several kdamonds saw count once.
    """
    groups: dict[tuple[str, tuple[int, ...]], list[Series]] = {}
    for each in series:
        which = cpus_counted(each.source.accesses)
        if which and each.source.ops == "paddr":
            groups.setdefault((each.source.accesses.kind, which), []).append(each)
    rows: dict[str, list[Touch]] = {}
    for (counts, which), held in groups.items():
        now = seen(next(rounds(held), []))
        rates = {node: float(rate.sum()) for node, (_, rate) in _split(now, ram).items()}
        home = [node for node, own in sorted(cpus.items()) if set(own) & set(which)]
        inside = len(home) == 1 and set(which) <= set(cpus[home[0]])
        names = tuple(dict.fromkeys(each.source.kdamond for each in held))
        rows.setdefault(counts, []).append(Touch(which, home[0] if inside else None, names, rates))
    found = []
    for counts, touches in rows.items():
        outside = [None] if any(row.rates.get(None) for row in touches) else []
        touches.sort(key=lambda row: (row.node is None, row.node or 0, row.cpus))
        found.append(Matrix(counts, (*sorted(ram), *outside), tuple(touches)))
    return found


def placement(
    series: Sequence[Series],
    ram: Mapping[int, Sequence[Range]],
    idle_for: int,
    hot: int = _HALF,
) -> list[Placement]:
    """Return the hot, warm and cold bytes of each node.

    Hot is what at least ``hot`` percent of samples found accessed, cold what has been idle for at
    least ``idle_for`` microseconds, warm all else. Only physical addresses have a node.
    """
    now = seen(next(rounds([each for each in series if each.source.ops == "paddr"]), []))
    cold = now.idle >= max(idle_for, 1)
    warmest = (now.percent >= hot) & ~cold
    found = []
    for node, (held, rate) in _split(now, ram).items():
        of_hot, of_cold = int(held[warmest].sum()), int(held[cold].sum())
        of_warm = int(held.sum()) - of_hot - of_cold
        if node is not None or held.any():
            found.append(Placement(node, of_hot, of_warm, of_cold, float(rate.sum())))
    return found


def _split(now: Seen, ram: Mapping[int, Sequence[Range]]) -> dict[Node, tuple[Array, Array]]:
    """Return the share of each node in each piece: whole bytes, and bytes per second.

    The last is for memory outside all nodes. If filters pass a part of a piece, each node has its
    share of it; the bytes of all nodes together are those of the piece.
    """
    size = now.end - now.start
    inside: dict[Node, Array] = {
        node: in_ranges(now.start, now.end, ranges) for node, ranges in sorted(ram.items())
    }
    inside[None] = size - sum(inside.values(), np.zeros_like(size))
    found: dict[Node, tuple[Array, Array]] = {}
    below, given = np.zeros_like(size), np.zeros_like(size)
    for node, own in inside.items():
        below = below + own
        upto = np.rint(now.bytes * (below / np.maximum(size, 1))).astype(np.int64)
        found[node] = (upto - given, now.rate * (own / np.maximum(size, 1)))
        given = upto
    return found
