"""Probes of quotas: sizes, times, windows, weights, failures, and goals that tune them."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import G, Lab, Places, Probe, Q, S, Staged, Symptom, T, physical, virtual
from .schemes import TRIED, cell

__all__ = ("probes",)

_MIB = 1 << 20
_SOON = 100
"""Milliseconds of a window that a probe can wait for."""
_LATE = 1_000_000_000
_MUCH = 20_000
"""Basis points that no metric reaches; what is fed reaches twice as many."""
_WEIGHTS = ("sz", "nr_accesses", "age")
"""Of which a probe sees the first two; see ``UNOBSERVED``."""


def probes(places: Places) -> Iterator[Probe]:
    """Return the probes of this part of the tree."""
    looking = virtual(places.load, **{f"{Q}/reset_interval_ms": _SOON})
    small, large = ({**looking, f"{Q}/bytes": size * _MIB} for size in (1, 4))
    yield Probe(cell("quotas/bytes"), small, large, _is(4 * _MIB))
    yield Probe(cell("quotas/bytes (fewer)"), large, small, _is(_MIB))
    # what tries nothing has no speed of its own: the kernel takes 4 MiB for each millisecond
    idle = {**looking, f"{S}/access_pattern/sz/min": 1 << 40, f"{S}/access_pattern/sz/max": 1 << 41}
    short, long = ({**idle, f"{Q}/ms": time} for time in (1, 10))
    yield Probe(cell("quotas/ms"), short, long, _is(40 * _MIB))
    late = {**small, f"{Q}/reset_interval_ms": _LATE}
    yield Probe(
        cell("quotas/reset_interval_ms (longer)"), small, late, TRIED, new=False, first=small
    )
    yield Probe(cell("quotas/reset_interval_ms (shorter)"), late, small, TRIED, first=small)
    yield from _failures(places)
    yield from _weights(places)
    yield from _goals(places)
    yield from _nodes(places)


def _is(size: int) -> Symptom:
    return lambda lab: lab.becomes(lambda: lab.effective() == size)


def _nothing(lab: Lab) -> bool:
    """Return whether nothing is allowed, once a window is over."""
    lab.machine.sleep(5 * _SOON / 1000)
    return lab.effective() == 0


def _failures(places: Places) -> Iterator[Probe]:
    """All fails, as every page is rejected; what is charged for that uses the quota up, or not."""
    failing = physical(
        places.load.spot,
        **{
            f"{Q}/bytes": 64 << 10, f"{Q}/reset_interval_ms": _SOON,
            f"{S}/ops_filters/nr_filters": 1, f"{S}/ops_filters/0/type": "anon",
            f"{S}/ops_filters/0/matching": "Y",
        },
    )  # fmt: skip
    num, denom = (f"{Q}/fail_charge_{end}" for end in ("num", "denom"))
    full, free = {**failing, num: 1, denom: 1}, {**failing, num: 0, denom: 1}
    why = "emulated kernels charge what fails in full"
    yield Probe(cell("quotas/fail_charge_num"), full, free, _beyond, unmodelled=why)
    # without a denominator all is charged
    off = {**failing, num: 0, denom: 0}
    yield Probe(cell("quotas/fail_charge_denom"), off, free, _beyond, unmodelled=why)


def _beyond(lab: Lab) -> bool:
    """Return whether much more is tried at a time than the quota allows."""
    size, number = lab.stat("sz_tried"), lab.stat("nr_snapshots")
    lab.becomes(lambda: lab.stat("nr_snapshots") >= number + 5, 5)
    return lab.stat("sz_tried") - size > 5 * _MIB


def _weights(places: Places) -> Iterator[Probe]:
    """Without any weight all memory has its turn; else that which is touched has none."""
    load, size = places.other, 2 * _MIB
    spans = sorted((start, start + size) for start, _ in (load.hot, load.cold))
    regions: dict[str, object] = {"nr_regions": 2}
    for place, span in enumerate(spans):
        regions |= {f"{place}/start": span[0], f"{place}/end": span[1]}
    even = {
        **virtual(load), **{f"{T}/0/regions/{name}": value for name, value in regions.items()},
        f"{S}/action": "pageout", f"{Q}/bytes": _MIB, f"{Q}/reset_interval_ms": _SOON,
        **{f"{Q}/weights/{name}_permil": 0 for name in _WEIGHTS},
    }  # fmt: skip

    def turn(lab: Lab) -> bool:
        tried = (each for _ in range(24) for each in lab.regions())
        return any(load.hot[0] <= each["start"] < load.hot[1] for each in tried)

    for name in _WEIGHTS[:2]:
        path = f"quotas/weights/{name}_permil"
        why = "emulated kernels give every region its turn"
        yield Probe(cell(path), even, {**even, f"{S}/{path}": 1}, turn, new=False, unmodelled=why)


_METRICS = (
    "some_mem_psi_us", "node_mem_used_bp", "node_mem_free_bp", "node_memcg_used_bp",
    "node_memcg_free_bp", "active_mem_bp", "inactive_mem_bp", "node_eligible_mem_bp",
)  # fmt: skip


def _grown(lab: Lab) -> bool:
    """Return whether the quota has left the 1 byte that it has while its goal is achieved."""
    return lab.becomes(lambda: lab.effective() > 1, 2)


def _goal(places: Places, metric: str, target: int, **more: object) -> Staged:
    # a goal on eligible memory takes physical addresses alone
    files = {"target_metric": metric, "target_value": target, **more}
    return physical(
        places.load.spot,
        **{f"{S}/action": "stat", f"{Q}/reset_interval_ms": _SOON, f"{G}/nr_goals": 1},
        **{f"{G}/0/{name}": value for name, value in files.items()},
    )


def _goals(places: Places) -> Iterator[Probe]:
    achieved = _goal(places, "user_input", _MUCH, current_value=2 * _MUCH)
    metric = "quotas/goals/*/target_metric"
    for word in _METRICS:
        start = {**achieved, **({f"{G}/0/path": places.mine} if "memcg" in word else {})}
        yield Probe(
            cell(f"{metric} = {word}"), start, {**start, f"{G}/0/target_metric": word}, _grown
        )
    fed = {**achieved, f"{G}/0/current_value": 1}
    told = cell(f"{metric} = user_input")
    if places.able("quota.goal.node_mem_used_bp"):
        measured = {f"{G}/0/target_metric": "node_mem_used_bp", f"{G}/0/target_value": 10}
        back = {f"{G}/0/target_metric": "user_input"}
        yield Probe(told, {**fed, **measured}, {**fed, **measured, **back}, _grown)
    else:  # a quiet guest has no pressure: its goal is missed
        missed = {**achieved, f"{G}/0/target_metric": "some_mem_psi_us"}
        yield Probe(told, missed, achieved, _is(1))
    higher = {**achieved, f"{G}/0/target_value": 10 * _MUCH}
    yield Probe(cell("quotas/goals/*/target_value"), achieved, higher, _grown)
    current = cell("quotas/goals/*/current_value")
    yield Probe(current, achieved, fed, _grown)
    word = "commit_schemes_quota_goals"
    yield Probe(f"{current} ({word})", achieved, fed, _grown, command=word)
    plain = {
        path: value for path, value in achieved.items() if not path.startswith(f"{G}/")
    } | {f"{Q}/bytes": _MIB}  # fmt: skip
    more = {**plain, **{path: value for path, value in achieved.items() if path.startswith(G)}}
    yield Probe(cell("quotas/goals/nr_goals (more)"), plain, more, _is(1))
    none = {**plain, f"{G}/nr_goals": 0}
    yield Probe(cell("quotas/goals/nr_goals (fewer)"), more, none, _is(_MIB))
    # beyond its goal, `temporal` allows nothing, and `consist` the least that it can
    tuned = {**achieved, f"{Q}/goal_tuner": "consist"}
    temporal = {**tuned, f"{Q}/goal_tuner": "temporal"}
    yield Probe(cell("quotas/goal_tuner = temporal"), tuned, temporal, _nothing)
    yield Probe(cell("quotas/goal_tuner = consist"), temporal, tuned, _is(1))


def _nodes(places: Places) -> Iterator[Probe]:
    """The goal is achieved on one node (or by one cgroup), and missed on (by) the other."""
    full, rest = places.full, 1 - places.full
    goals = {
        "node_mem_used_bp": (full, rest, places.between),
        "node_mem_free_bp": (rest, full, 10_000 - places.between),
        "node_memcg_used_bp": (1, 0, 200),
        "node_memcg_free_bp": (0, 1, 9_800),
        "node_eligible_mem_bp": (1, 0, 5_000),
    }
    for metric, (achieved, missed, target) in goals.items():
        path = {"path": places.mine} if "memcg" in metric else {}
        start = _goal(places, metric, target, nid=achieved, **path)
        name = cell(f"quotas/goals/*/nid ({metric})")
        yield Probe(name, start, {**start, f"{G}/0/nid": missed}, _grown)
        if metric != "node_eligible_mem_bp":
            continue
        word = "commit_schemes_quota_goals"
        yield Probe(
            f"{name[:-1]}, {word})", start, {**start, f"{G}/0/nid": missed}, _grown, command=word
        )
        added = {path: value for path, value in start.items() if not path.startswith(f"{G}/")}
        added |= {f"{G}/nr_goals": 0, f"{Q}/bytes": _MIB}
        yield Probe(f"{name[:-1]}, a new goal)", added, {**added, **start}, _is(1))
    for metric in ("node_memcg_used_bp", "node_memcg_free_bp"):
        _, nid, target = goals[metric]
        start, end = places.mine, places.empty
        if metric.endswith("free_bp"):
            start, end, nid = end, start, 1
        else:
            nid = 1
        before = _goal(places, metric, target, nid=nid, path=start)
        name = cell(f"quotas/goals/*/path ({metric})")
        yield Probe(name, before, {**before, f"{G}/0/path": end}, _grown)
