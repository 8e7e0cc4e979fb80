"""Probes of schemes: access patterns, actions, watermarks, snapshots, destinations."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import ALL, A, C, Lab, Load, Places, Probe, S, Staged, W, grows, physical, virtual

__all__ = ("APPLIED", "TRIED", "cell", "done", "probes")

_LONG = 1_000_000_000
"""Microseconds that no probe waits for."""
_NEVER = 4_000_000_000
"""A count and an age that nothing has."""
TRIED = grows("nr_tried")
APPLIED = grows("sz_applied")
_VIRTUAL = ("willneed", "cold", "pageout", "collapse", "hugepage", "nohugepage")
_PHYSICAL = ("lru_prio", "lru_deprio")
_MOVES = ("migrate_hot", "migrate_cold")
_MANY = 300


def cell(path: str) -> str:
    """Return the name of a scheme's file."""
    return f"*/contexts/*/schemes/*/{path}"


def probes(places: Places) -> Iterator[Probe]:
    """Return the probes of this part of the tree."""
    looking = virtual(places.load)
    yield from _patterns(places)
    yield from _actions(places)
    yield from _moves()
    yield from _watermarks(looking)
    yield from _numbers(looking)
    path = f"{S}/apply_interval_us"
    long = {**looking, path: _LONG}
    yield Probe(cell("apply_interval_us (longer)"), looking, long, TRIED, new=False)
    yield Probe(cell("apply_interval_us (shorter)"), long, looking | {path: 0}, TRIED)
    both = {**looking, path: 0, f"{A}/nr_regions/max": 999}
    yield Probe(cell("apply_interval_us (shorter, beside another attribute)"), long, both, TRIED)
    path = f"{S}/stats/max_nr_snapshots"
    off, on = {**looking, path: 0}, {**looking, path: 1}
    yield Probe(cell("stats/max_nr_snapshots (fewer)"), off, on, TRIED, new=False)
    yield Probe(cell("stats/max_nr_snapshots (more)"), on, off, TRIED)


def _patterns(places: Places) -> Iterator[Probe]:
    hot, cold = virtual(places.load), virtual(places.load, places.load.cold)
    spans = {"sz": (hot, 1 << 40, 1), "nr_accesses": (hot, _NEVER, 0), "age": (cold, _NEVER, 0)}
    for name, (looking, much, little) in spans.items():
        low, high = (f"access_pattern/{name}/{end}" for end in ("min", "max"))
        all_ = {**looking, f"{S}/{low}": 0, f"{S}/{high}": much}
        yield Probe(cell(low), all_, {**all_, f"{S}/{low}": much}, TRIED, new=False)
        yield Probe(cell(high), all_, {**all_, f"{S}/{high}": little}, TRIED, new=False)


def _actions(places: Places) -> Iterator[Probe]:
    idle = virtual(places.other, places.other.cold, **{f"{S}/action": "stat"})
    pages = physical(places.load.spot, **{f"{S}/action": "stat"})
    for action in _VIRTUAL:
        doing = {**idle, f"{S}/action": action}
        yield Probe(cell(f"action = {action}"), idle, doing, APPLIED)
    for action in _PHYSICAL:
        doing = {**pages, f"{S}/action": action}
        yield Probe(cell(f"action = {action}"), pages, doing, APPLIED)
    yield Probe(
        cell("action = stat"), {**pages, f"{S}/action": "lru_prio"}, pages, APPLIED, new=False
    )


def done(lab: Lab) -> bool:
    """Return whether the action was applied to anything: memory is moved once only."""
    return lab.becomes(lambda: lab.stat("sz_applied") > 0)


def _moves() -> Iterator[Probe]:
    def moving(load: Load, **more: object) -> Staged:
        values = {"action": "migrate_cold", "target_nid": 0, **more}
        return physical(load.spot, **{f"{S}/{name}": value for name, value in values.items()})

    def weighing(load: Load, *dests: tuple[int, int]) -> Staged:
        files: dict[str, object] = {"nr_dests": len(dests)}
        for place, (node, weight) in enumerate(dests):
            files |= {f"{place}/id": node, f"{place}/weight": weight}
        return {
            **virtual(load, load.cold), f"{S}/action": "migrate_cold", f"{S}/target_nid": 0,
            **{f"{S}/dests/{name}": value for name, value in files.items()},
        }  # fmt: skip

    for action in _MOVES:
        yield Probe(
            cell(f"action = {action}"),
            lambda load: moving(load, action="stat", target_nid=1),
            lambda load, action=action: moving(load, action=action, target_nid=1),
            done,
        )
    yield Probe(cell("target_nid"), moving, lambda load: moving(load, target_nid=1), done)
    yield Probe(cell("dests/nr_dests"), weighing, lambda load: weighing(load, (1, 1)), done)
    yield Probe(
        cell("dests/*/id"),
        lambda load: weighing(load, (0, 1)), lambda load: weighing(load, (1, 1)), done,
    )  # fmt: skip
    yield Probe(
        cell("dests/*/weight"),
        lambda load: weighing(load, (0, 1), (1, 0)),
        lambda load: weighing(load, (0, 1), (1, 1_000_000)),
        done,
    )


def _watermarks(looking: Staged) -> Iterator[Probe]:
    """Beside a scheme without: were all asleep, 6.12 would wait for ever."""
    beside = {
        **_two(looking), f"{W}/metric": "free_mem_rate", f"{W}/high": 1000, f"{W}/mid": 1,
        f"{W}/low": 0, f"{W}/interval_us": 10_000,
    }  # fmt: skip
    awake = {**beside, f"{W}/metric": "none", f"{W}/high": 0}
    asleep = {**awake, f"{W}/metric": "free_mem_rate"}
    yield Probe(cell("watermarks/metric = free_mem_rate"), awake, asleep, TRIED, new=False)
    yield Probe(cell("watermarks/metric = none"), asleep, awake, TRIED)
    yield Probe(cell("watermarks/high"), beside, {**beside, f"{W}/high": 0}, TRIED, new=False)
    low = {**beside, f"{W}/low": 999}
    yield Probe(cell("watermarks/low"), beside, low, TRIED, new=False)
    alone = {**looking, f"{W}/metric": "free_mem_rate", f"{W}/interval_us": 10_000}
    yield Probe(
        cell("watermarks/interval_us"), alone, {**alone, f"{W}/interval_us": 2_000_000}, _slow,
        needs="commit.checked",
        unmodelled="emulated kdamonds answer while they sleep",
    )  # fmt: skip


def _slow(lab: Lab) -> bool:
    """Return whether the kdamond sleeps long before it answers."""
    lab.command("update_schemes_stats")
    begin = lab.machine.monotonic()
    lab.command("update_schemes_stats")
    return lab.machine.monotonic() - begin > 1


def _two(looking: Staged) -> Staged:
    other = {path.replace("schemes/0", "schemes/1"): value for path, value in ALL.items()}
    return {**looking, f"{C}/schemes/nr_schemes": 2, **other}


def _numbers(looking: Staged) -> Iterator[Probe]:
    two = _two(looking)

    def begins(lab: Lab) -> bool:
        """Return whether the second one, made again, has forgotten what it did."""
        if lab.tree[f"{C}/schemes/nr_schemes"] == "1":
            lab.commit(two)
            return lab.stat("nr_tried", 1) < _MANY
        return not lab.becomes(lambda: lab.stat("nr_tried", 1) >= _MANY, 10)

    yield Probe("*/contexts/*/schemes/nr_schemes (fewer)", two, looking, begins)
    yield Probe("*/contexts/*/schemes/nr_schemes (more)", looking, two, _second)


def _second(lab: Lab) -> bool:
    """Return whether there is a second scheme that is applied."""
    return lab.tree[f"{C}/schemes/nr_schemes"] == "2" and grows("nr_tried", 1)(lab)
