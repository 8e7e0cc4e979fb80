"""Probes of monitoring: intervals, their tuning, numbers of regions, probes, targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .lab import A, C, I, Lab, Places, Probe, S, Staged, Symptom, T, physical, virtual
from .schemes import APPLIED, TRIED

__all__ = ("probes",)

_MIB = 1 << 20
_LONG = 1_000_000_000
_PATTERN = f"{S}/access_pattern/nr_accesses"
_UPDATES = "emulated kernels see a process' memory as it is"


def _cell(path: str) -> str:
    return f"*/contexts/*/{path}"


def probes(places: Places) -> Iterator[Probe]:
    """Return the probes of this part of the tree."""
    looking = virtual(places.load)
    yield from _intervals(places, looking)
    yield from _tuning(places)
    yield from _regions(places)
    yield from _probes(places)
    yield from _targets(places)
    path = f"{C}/pause"
    runs, rests = {**looking, path: "N"}, {**looking, path: "Y"}
    yield Probe(_cell("pause = Y"), runs, rests, TRIED, new=False)
    yield Probe(_cell("pause = N"), rests, runs, TRIED)
    yield Probe("*/refresh_ms", looking, {**looking, "refresh_ms": 100}, _refreshes)
    often = {**looking, "refresh_ms": 100}
    yield Probe(
        "*/refresh_ms (longer)", often, {**often, "refresh_ms": 1_000_000}, _refreshes, new=False
    )
    pages = physical(places.load.spot)
    elsewhere = {**pages, f"{C}/addr_unit": 2}
    yield Probe(_cell("addr_unit"), pages, elsewhere, APPLIED, new=False)
    unseen = {**pages, f"{C}/operations": "fvaddr", f"{T}/0/pid_target": places.load.pid}
    yield Probe(_cell("operations = paddr"), unseen, pages, APPLIED)
    yield Probe(_cell("operations = fvaddr"), pages, unseen, APPLIED, new=False)
    soon = {
        **looking,
        f"{T}/0/regions/0/end": places.load.hot[0] + 4096 * 4,
        f"{I}/update_us": 100_000,
    }
    yield Probe(
        _cell("operations = vaddr"), soon, {**soon, f"{C}/operations": "vaddr"}, _wide(places),
        unmodelled=_UPDATES,
    )  # fmt: skip


def _refreshes(lab: Lab) -> bool:
    """Return whether statistics come into their file by themselves."""
    path = f"{S}/stats/nr_tried"
    before = lab.read(path)
    return lab.becomes(lambda: lab.read(path) != before)


def _wide(places: Places) -> Symptom:
    """Return whether regions are seen that were not staged."""
    low, high = places.load.hot[0], places.load.hot[0] + 4096 * 4
    return lambda lab: lab.becomes(
        lambda: any(not low <= each["start"] < high for each in lab.regions()), 1
    )


def _intervals(places: Places, looking: Staged) -> Iterator[Probe]:
    path = _cell("monitoring_attrs/intervals")
    # few samples in an aggregation find few accesses
    long = {**looking, f"{_PATTERN}/min": 4, f"{I}/sample_us": 5_000, f"{I}/aggr_us": 100_000}
    short = {**long, f"{I}/aggr_us": 10_000}
    yield Probe(f"{path}/aggr_us (longer)", short, long, TRIED)
    yield Probe(f"{path}/aggr_us (shorter)", long, short, TRIED, new=False)
    often = {**looking, f"{_PATTERN}/min": 4, f"{I}/sample_us": 5_000}
    once = {**often, f"{I}/sample_us": 100_000}
    yield Probe(f"{path}/sample_us (shorter)", once, often, TRIED)
    yield Probe(f"{path}/sample_us (longer)", often, once, TRIED, new=False)
    end = places.load.hot[0] + 4096 * 4
    first = {**looking, f"{C}/operations": "vaddr", f"{T}/0/regions/0/end": end}
    seldom, soon = ({**first, f"{I}/update_us": time} for time in (_LONG, 100_000))
    yield Probe(f"{path}/update_us", seldom, soon, _wide(places), unmodelled=_UPDATES)


def _tuning(places: Places) -> Iterator[Probe]:
    """All of ``hot`` is accessed, nothing of ``cold``; of both, as staged, less than the half."""
    load = places.load
    path, base = _cell("monitoring_attrs/intervals/intervals_goal"), f"{I}/intervals_goal"

    def tuning(looking: Staged, **more: object) -> Staged:
        values = {"access_bp": 1, "aggrs": 1, "min_sample_us": 4_000, "max_sample_us": 6_000}
        return {**looking, **{f"{base}/{name}": value for name, value in (values | more).items()}}

    def below(sample: int) -> Symptom:
        return lambda lab: lab.becomes(lambda: lab.tuned() < sample, 3)

    def above(sample: int) -> Symptom:
        return lambda lab: lab.becomes(lambda: lab.tuned() > sample, 3)

    hot, cold = virtual(load), virtual(load, load.cold)
    yield Probe(f"{path}/aggrs", tuning(hot, aggrs=0), tuning(hot), below(4_500))
    yield Probe(
        f"{path}/min_sample_us", tuning(hot), tuning(hot, min_sample_us=2_000), below(3_000)
    )
    yield Probe(
        f"{path}/max_sample_us", tuning(cold), tuning(cold, max_sample_us=9_000), above(8_000)
    )
    some = {**hot, f"{T}/0/regions/nr_regions": 2}
    for place, (start, end) in enumerate(sorted((load.hot, load.cold))):
        some |= {f"{T}/0/regions/{place}/start": start, f"{T}/0/regions/{place}/end": end}
    yield Probe(f"{path}/access_bp", tuning(some), tuning(some, access_bp=10_000), above(5_500))


def _regions(places: Places) -> Iterator[Probe]:
    path, base = _cell("monitoring_attrs/nr_regions"), f"{A}/nr_regions"
    looking = virtual(places.load, places.load.cold)
    few, many = {**looking, f"{base}/min": 10}, {**looking, f"{base}/min": 200}
    yield Probe(f"{path}/min (more)", few, many, _regions_above(150))
    yield Probe(f"{path}/min (fewer)", many, few, _regions_above(150), new=False)
    soon = {f"{I}/update_us": 500_000}
    yield Probe(f"{path}/min (more, after an update)", few | soon, many | soon, _regions_above(150))
    # between a split and the merge that follows there are as many as may be
    often = {**looking, f"{S}/apply_interval_us": 5_000, f"{base}/min": 10}
    capped, open_ = {**often, f"{base}/max": 12}, {**often, f"{base}/max": 1000}
    why = "emulated kernels never split regions by chance"
    yield Probe(f"{path}/max (more)", capped, open_, _regions_above(16), unmodelled=why)
    yield Probe(f"{path}/max (fewer)", open_, capped, _regions_above(16), new=False, unmodelled=why)


def _regions_above(number: int) -> Symptom:
    """Return whether there are more regions, at one of some looks: a look may fall between."""

    def look(lab: Lab) -> int:
        lab.machine.sleep(0.1)
        return len(lab.regions())

    return lambda lab: any(look(lab) > number for _ in range(4))


def _hit(lab: Lab) -> bool:
    """Return whether a probe hits what is looked at."""
    return lab.becomes(lambda: any(each.get("probes/0/hits", 0) for each in lab.regions()), 2)


def _probes(places: Places) -> Iterator[Probe]:
    path = _cell("monitoring_attrs/probes")
    looking = {**physical(places.load.spot), f"{S}/action": "stat"}

    def probing(**files: object) -> Staged:
        values = {"type": "anon", "matching": "Y", "allow": "Y", **files}
        base = f"{A}/probes/0/filters"
        return {
            **looking, f"{A}/probes/nr_probes": 1, f"{base}/nr_filters": 1,
            **{f"{base}/0/{name}": value for name, value in values.items()},
        }  # fmt: skip

    hit, missed = probing(), probing(matching="N")
    none: Mapping[str, object] = {**looking, f"{A}/probes/nr_probes": 0}
    yield Probe(f"{path}/nr_probes (more)", none, hit, _hit)
    yield Probe(f"{path}/nr_probes (fewer)", hit, none, _hit, new=False)
    yield Probe(f"{path}/*/filters/*/matching", missed, hit, _hit)
    yield Probe(f"{path}/*/filters/*/allow", probing(allow="N"), hit, _hit)
    other = probing(type="memcg", path=places.empty)
    yield Probe(
        f"{path}/*/filters/*/type = memcg", probing(path=places.empty), other, _hit, new=False
    )
    yield Probe(
        f"{path}/*/filters/*/type = anon",
        other,
        {**other, f"{A}/probes/0/filters/0/type": "anon"},
        _hit,
    )
    yield Probe(
        f"{path}/*/filters/*/path",
        other,
        {**other, f"{A}/probes/0/filters/0/path": places.mine},
        _hit,
    )
    bare = {path: value for path, value in missed.items() if "/filters/0/" not in path}
    bare |= {f"{A}/probes/0/filters/nr_filters": 0}
    yield Probe(f"{path}/*/filters/nr_filters (more)", bare, missed, _hit, new=False)
    yield Probe(f"{path}/*/filters/nr_filters (fewer)", missed, bare, _hit)
    # any weight takes the place of access checks
    light, heavy = (
        {**hit, f"{A}/probes/0/weight": weight, f"{_PATTERN}/min": 1} for weight in (0, 1)
    )
    yield Probe(f"{path}/*/weight", light, heavy, TRIED, new=False)


def _targets(places: Places) -> Iterator[Probe]:
    path, one, two = _cell("targets"), places.load, places.other
    looking = {**virtual(one), f"{_PATTERN}/min": 1}
    # what the other process touches is nothing in this one
    blind = {**virtual(one, two.hot), f"{_PATTERN}/min": 1}
    yield Probe(f"{path}/*/pid_target", blind, {**blind, f"{T}/0/pid_target": two.pid}, TRIED)
    both = {
        **blind, f"{T}/nr_targets": 2, f"{T}/1/pid_target": two.pid,
        f"{T}/1/regions/nr_regions": 1, f"{T}/1/regions/0/start": two.hot[0],
        f"{T}/1/regions/0/end": two.hot[1],
    }  # fmt: skip
    yield Probe(f"{path}/nr_targets (more)", blind, both, TRIED)
    yield Probe(f"{path}/nr_targets (fewer)", both, blind, TRIED, new=False)
    gone = {**both, f"{T}/1/obsolete_target": "Y"}
    yield Probe(f"{path}/*/obsolete_target", both, gone, TRIED, new=False)
    base = f"{T}/0/regions"
    start, end = one.hot
    middle = (start + end) // 2 // 4096 * 4096
    first = {**looking, f"{base}/0/end": middle}
    whole = {**first, f"{base}/nr_regions": 2, f"{base}/1/start": middle, f"{base}/1/end": end}
    beyond = _seen(lambda each: each["end"] > middle)
    yield Probe(f"{path}/*/regions/nr_regions (more)", first, whole, beyond)
    yield Probe(f"{path}/*/regions/nr_regions (fewer)", whole, first, beyond, new=False)
    yield Probe(f"{path}/*/regions/*/end", first, {**first, f"{base}/0/end": end}, beyond)
    late = {**looking, f"{base}/0/start": middle}
    before = _seen(lambda each: each["start"] < middle)
    yield Probe(f"{path}/*/regions/*/start", late, {**late, f"{base}/0/start": start}, before)


def _seen(right: object) -> Symptom:
    return lambda lab: lab.becomes(lambda: any(map(right, lab.regions())), 2)  # type: ignore[arg-type]
