"""The regions of a kdamond: its targets' memory, with counts of accesses and ages.

Every process has areas with a rate of access; regions are the pieces of the targets between the
borders of areas, cut and merged until there are as many as the kdamond may have (mm/damon/core.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from damonpolicy.base.lazy import dataclass
from damonpolicy.emulated.damon.sample import by_faults, counted
from damonpolicy.emulated.damon.table import look
from damonpolicy.emulated.world import World

__all__ = ("PAGE", "Region", "regions", "samples_of")

PAGE = 4096
_BALANCING = "/proc/sys/kernel/numa_balancing"
_USUAL_SAMPLE = 5000
"""The sampling interval of areas' rates, in microseconds."""

_MOST_PIECES = 1000
_ROUNDING = 1e-6
"""The tolerance in seconds, as floats do not represent tenths exactly."""


@dataclass(frozen=True, slots=True)
class Region:
    """A piece of a target; addresses and sizes in the kernel's core units.

    ``area`` is the memory there (None: no process has any), ``cgroup`` the id of its owner's. A
    region merged from several has the properties of the largest one with memory; ``unmapped`` of it
    belongs to no process.
    """

    start: int
    end: int
    target: int
    accesses: int
    age: int
    area: dict[str, Any] | None
    cgroup: int
    unit: int = 1
    unmapped: int = 0

    @property
    def size(self) -> int:
        """The length of the region, in core units."""
        return self.end - self.start

    @property
    def memory(self) -> int:
        """The part of it that is memory of a process, in core units."""
        return 0 if self.area is None else max(self.size - self.unmapped, 0)


def samples_of(running: dict[str, Any]) -> int:
    """Return the number of samples of an aggregation (damon_max_nr_accesses())."""
    return max(int(running["aggr"]) // max(int(running["sample"]), 1), 1)


def _rate(area: dict[str, Any] | None, sample: int) -> float:
    """Return the share of samples that find an area accessed; longer intervals find more."""
    if area is None or not area["rate"]:
        return 0.0
    return float(1 - (1 - area["rate"]) ** (max(sample, 1) / _USUAL_SAMPLE))


def _spans(world: World, running: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    """Yield the first and last address of each target's ranges, and the target's index."""
    for index, target in enumerate(running["targets"]):
        if running["ops"] == "paddr":
            yield from ((low, high, index) for low, high in target["regions"])
        elif world.alive(target["pid"], target["start"]):
            own = world.processes[str(target["pid"])]["areas"]
            for area in own if not target["regions"] and running["ops"] == "vaddr" else ():
                yield area["start"], area["start"] + area["size"], index
            yield from ((low, high, index) for low, high in target["regions"])


def _memory(world: World, running: dict[str, Any], index: int) -> list[tuple[int, Any, int]]:
    """Return the areas of a target: their starts, and their owners."""
    key = "at" if running["ops"] == "paddr" else "start"
    target = running["targets"][index]
    owners = (
        list(world.processes.values())
        if running["ops"] == "paddr"
        else [world.processes[str(target["pid"])]]
    )
    cgroups, now = world.state["cgroups"], world.now()
    return sorted(
        (
            (area[key], _in_phase(area, now), cgroups[owner["cgroup"]]["id"])
            for owner in owners
            for area in owner["areas"]
        ),
        key=lambda found: found[0],
    )


def _in_phase(area: dict[str, Any], now: float) -> dict[str, Any]:
    """Return an area with its current rate; its phases repeat in turn."""
    phases = area.get("phases")
    if not phases:
        return area
    since = (now - area["born"]) % sum(seconds for seconds, _, _ in phases)
    for seconds, rate, written in phases:
        if since < seconds:
            return {**area, "rate": rate, "written": written, "age": since}
        since -= seconds
    return area


def regions(world: World, running: dict[str, Any]) -> list[Region]:
    """Return the regions of a running kdamond, with counts and ages as of now."""
    files = look(running["tree"])
    unit = files.addr_unit.number if running["ops"] == "paddr" else 1
    sample, most = int(running["sample"]), samples_of(running)
    elapsed = max(world.now() - running["since"], 0)
    blind = any(each.weight.number for each in files.probes)
    faults = by_faults(files)
    balancing = world.state["settings"].get(_BALANCING, "1") != "0"
    balancing = balancing and _BALANCING not in world.spec.without
    found: list[Region] = []
    for low, high, index in _spans(world, running):
        position = low * unit
        pieces: list[tuple[int, int, Any, int]] = []
        for first, area, cgroup in _memory(world, running, index):
            start, end = max(first, low * unit), min(first + area["size"], high * unit)
            if start >= end:
                continue
            pieces += [(position, start, None, 0)] if position < start else []
            pieces.append((start, end, area, cgroup))
            position = end
        if position < high * unit or low == high:
            pieces.append((position, high * unit, None, 0))
        for start, end, area, cgroup in pieces:
            held = elapsed if area is None or area["age"] is None else min(elapsed, area["age"])
            accesses = 0 if blind else round(_rate(area, sample) * most)
            if faults and accesses and area is not None:
                accesses = round(accesses * counted(files, area, balancing=balancing))
            age = int(held * 1e6 / max(int(running["aggr"]), 1) + _ROUNDING)
            if start // unit < end // unit or low == high:
                found.append(
                    Region(start // unit, end // unit, index, accesses, age, area, cgroup, unit)
                )
    before, until = running.get("least", (0, 0))  # for a while after a commit
    least = before if world.now() < until else files.region_count.min.number
    return _merged(_cut(found, least), max(files.region_count.max.number, 1), most)


def _cut(found: list[Region], least: int) -> list[Region]:
    """Cut large regions until there are enough (damon_apply_min_nr_regions()); keep empty ones."""
    total = sum(region.size for region in found)
    limit = -(-max(total // max(min(least, _MOST_PIECES), 1), PAGE) // PAGE) * PAGE
    return [
        replace(region, start=start, end=min(start + limit, region.end))
        for region in found
        for start in range(region.start, max(region.end, region.start + 1), limit)
    ]


def _merged(found: list[Region], most: int, samples: int) -> list[Region]:
    """Merge neighbours until no more than ``most`` are left (kdamond_merge_regions()).

    First touching ones, most similar first; then those with the smallest gaps between them, which
    the kernel monitors, too: it leaves out only the two largest gaps of a process.
    """
    difference = 1
    while len(found) > most and difference // 2 < samples:
        found = _merge_alike(found, most, difference)
        difference *= 2
    while len(found) > most:
        gaps = [
            (after.start - before.end, index)
            for index, (before, after) in enumerate(pairwise(found))
            if before.target == after.target
        ]
        if not gaps:
            break
        _, index = min(gaps)
        found = [*found[:index], _union(*found[index : index + 2]), *found[index + 2 :]]
    return found


def _merge_alike(found: list[Region], most: int, difference: int) -> list[Region]:
    """Merge touching regions within a difference of accesses (damon_merge_regions_of())."""
    merged = found[:1]
    for index, each in enumerate(found[1:], 1):
        last = merged[-1]
        touches = last.target == each.target and last.end == each.start
        enough = len(merged) + len(found) - index <= most
        if touches and not enough and abs(last.accesses - each.accesses) <= difference:
            merged[-1] = _union(last, each)
        else:
            merged.append(each)
    return merged


def _union(one: Region, other: Region) -> Region:
    """Return both as one, with counts and ages weighted by size (damon_merge_two_regions())."""
    size = max(one.size + other.size, 1)
    larger = max(one, other, key=lambda each: each.memory)
    return replace(
        larger,
        start=one.start,
        end=other.end,
        accesses=(one.accesses * one.size + other.accesses * other.size) // size,
        age=(one.age * one.size + other.age * other.size) // size,
        unmapped=other.end - one.start - one.memory - other.memory,
    )
