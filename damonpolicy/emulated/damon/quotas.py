"""Progress of a running kdamond over time: statistics, quotas, goals, watermarks, tuning.

Kernels count and limit sizes in core units, despite the files' names: these are bytes only with an
address unit of 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from damonpolicy.emulated.damon.monitor import Work, next_input, tuned, works
from damonpolicy.emulated.damon.regions import PAGE, Region
from damonpolicy.emulated.damon.table import look
from damonpolicy.emulated.world import World
from damonpolicy.kernel.damon.schema import ROWS, pattern
from damonpolicy.kernel.damon.view import Goal, Kdamond, Scheme, Stats

__all__ = (
    "goals",
    "idle",
    "over",
    "scheme_state",
    "settle",
    "starves",
    "watches",
    "within_quota",
)

_STATS = Stats()
"""The files of statistics, which are counted by their names."""
_STATISTICS = [
    each.path.rpartition("/")[2]
    for each in ROWS
    if each.kind == "value"
    and each.path.startswith(pattern(f"0/{Kdamond().schemes[0].stats.path}"))
]

_STEPS = 64
"""The most steps of tuning, and the most charge windows, to compute at a time."""

_U64 = (1 << 64) - 1


def scheme_state(now: float) -> dict[str, Any]:
    """Return the initial state of a scheme: nothing tried, no quota in effect."""
    return {
        "at": now, "window": None, "full": 0, "esz": 0, "esz_bp": 0, "active": True,
        "measured": False,
        "stats": dict.fromkeys(_STATISTICS, 0),
    }  # fmt: skip


def starves(work: Work) -> bool:
    """Return whether a scheme is never applied, as each tuning restarts its wait.

    mm/damon/core.c: kdamond_tune_intervals() ends in damon_set_attrs(), which sets next_apply_sis.
    """
    every = _tuning(work.running)
    return (
        bool(every)
        and work.world.profile.quirk("tune.starves")
        and work.period > every * int(work.running["aggr"]) / 1e6
    )


def _tuning(running: dict[str, Any]) -> int:
    """Return after how many aggregations each intervals are tuned, 0 for never."""
    return look(running["tree"]).intervals.auto_tune.aggregations.number


def _active(work: Work) -> bool:
    """Return whether watermarks allow a scheme to work (damos_wmark_wait_us())."""
    marks, state = work.scheme.watermarks, work.state
    if marks.metric.text != "none":
        free = work.world.free_permil()
        if free > marks.high.number or free < marks.low.number:
            state["active"] = False
        elif free < marks.mid.number:
            state["active"] = True
    return bool(state["active"])


def idle(world: World, running: dict[str, Any]) -> float | None:
    """Return whether there are schemes, and watermarks keep all of them from working.

    Returns the seconds that the kdamond then sleeps at a time, otherwise None.
    """
    schemes = works(world, running)
    working = sum(map(_active, schemes))
    if working or not schemes:
        return None
    return min(each.scheme.watermarks.every.number for each in schemes) / 1e6


def watches(world: World, running: dict[str, Any]) -> bool:
    """Return whether a kdamond monitors: it is not paused, and not all schemes are asleep."""
    return not look(running["tree"]).paused.yes and idle(world, running) is None


def settle(world: World, running: dict[str, Any]) -> None:
    """Bring a running kdamond to the present."""
    now, paused = world.now(), look(running["tree"]).paused.yes
    if paused:
        running["tuned_at"] = now
    else:
        _tune(world, running, now)
    for work in works(world, running):
        ticks = int((now - work.state["at"]) / work.period)
        if paused or starves(work) or not _active(work):
            work.state["at"] = now
        elif ticks > 0:
            _apply(work, ticks)


def _tune(world: World, running: dict[str, Any], now: float) -> None:
    """Take the steps of tuning that are due; each waits for some aggregations."""
    every = _tuning(running)
    for _ in range(_STEPS if every else 0):
        wait = every * int(running["aggr"]) / 1e6
        if running["tuned_at"] + wait > now:
            return
        before = running["sample"], running["aggr"]
        running["sample"], running["aggr"] = tuned(world, running)
        running["tuned_at"] += wait
        if before == (running["sample"], running["aggr"]):
            break
    running["tuned_at"] = now if every else running["tuned_at"]


def over(work: Work) -> bool:
    """Return whether a scheme has had all of its snapshots."""
    most = work.scheme.stats.max_snapshots.number
    return 0 < most <= int(work.state["stats"][_STATS.nr_snapshots.path])


def _apply(work: Work, ticks: int) -> None:
    """Count ``ticks`` applications of a scheme, within its quota and snapshots."""
    found, wait, state, stats = work.tried(), work.period, work.state, work.state["stats"]
    state["at"] += ticks * wait
    most = work.scheme.stats.max_snapshots.number
    if most:
        ticks = max(min(ticks, most - stats[_STATS.nr_snapshots.path]), 0)
    stats[_STATS.nr_snapshots.path] += ticks
    if not _limited(work.scheme):
        _count(work, found, ticks)
        return
    reset = max(work.scheme.quota.every.number / 1000, wait)
    if state["window"] is None:
        state["window"] = state["at"] - ticks * wait
        if not work.world.profile.quirk("quota.late"):
            _charge(work, found)
    if _waived(work):
        _count(work, found, ticks)
    windows = int((state["at"] - state["window"]) / reset)
    for _ in range(min(windows, _STEPS)):
        stats[_STATS.qt_exceeds.path] += state["full"]
        _charge(work, found)
    state["window"] += windows * reset


def _charge(work: Work, found: list[Region]) -> None:
    """Begin a charge window: compute its quota, and use it up as far as there is memory."""
    state = work.state
    _effective(work, found)
    fitting = within_quota(work, found)
    _count(work, fitting, 1)
    size = sum(region.size for region in found)
    if work.world.profile.quirk("quota.crumbs"):
        size = sum(region.size for region in fitting)
        state["stats"][_STATS.nr_tried.path] += (
            len(found) - len(fitting) if size < state["esz"] else 0
        )
    state["full"] = int(size >= state["esz"])


def _limited(scheme: Scheme) -> bool:
    quota = scheme.quota
    return bool(quota.time.number or quota.size.number or len(quota.goals))


def _waived(work: Work) -> bool:
    """Return whether a quota does not limit yet."""
    return not work.state["esz"] and work.world.profile.quirk("quota.late")


def within_quota(work: Work, found: list[Region]) -> list[Region]:
    """Return the regions within a scheme's quota, the last one shortened."""
    if not _limited(work.scheme) or _waived(work):
        return found
    room, result = work.state["esz"], []
    for region in found:
        least = max(PAGE // region.unit, 1)
        size = min(region.size, room // least * least)
        if size <= 0:
            break
        room -= size
        result.append(replace(region, end=region.start + size, unmapped=0))
    return result


def _count(work: Work, found: list[Region], times: int) -> None:
    stats = work.state["stats"]
    done = [work.applied(region) for region in found]
    stats[_STATS.nr_tried.path] += len(found) * times
    stats[_STATS.sz_tried.path] += sum(region.size for region in found) * times
    stats[_STATS.nr_applied.path] += sum(1 for size in done if size) * times
    stats[_STATS.sz_applied.path] += sum(done) * times
    stats[_STATS.sz_ops_filter_passed.path] += sum(map(work.passed, found)) * times


def goals(scheme: Scheme) -> list[Goal]:
    """Return the goals that count: those with a target of 0 are skipped."""
    return [each for each in scheme.quota.goals if each.target.number]


def _effective(work: Work, found: list[Region]) -> None:
    """Compute the quota of the next window in bytes (damos_set_effective_quota())."""
    quota, state = work.scheme.quota, work.state
    size, time, wanted = quota.size.number, quota.time.number, goals(work.scheme)
    if not wanted and not time:
        state["esz"] = size
        return
    room = _U64
    if wanted:
        score = max(_current(work, goal, found) * 10_000 // goal.target.number for goal in wanted)
        if score <= 10_000 and _unmeasured(work, wanted):
            pass
        elif quota.tuner.text == "consist":
            state["esz_bp"] = next_input(max(state["esz_bp"], 10_000), score)
        else:
            state["esz_bp"] = 0 if score >= 10_000 else (size * 10_000 if size else _U64)
        state["measured"] = True
        room = state["esz_bp"] // 10_000
    if time:
        room = max(min(PAGE * 1024 * time, room), PAGE)
    state["esz"] = min(room, size) if size else room


def _unmeasured(work: Work, wanted: list[Goal]) -> bool:
    """Return whether a goal on pressure is new, and has no earlier value to compare with."""
    return (
        not work.state["measured"]
        and any(goal.metric.text == "some_mem_psi_us" for goal in wanted)
        and work.world.profile.quirk("goal.unmeasured")
    )


def _current(work: Work, goal: Goal, found: list[Region]) -> int:
    """Measure a goal's metric; pressure is always 0 on this machine."""
    world, metric, node = work.world, goal.metric.text, goal.node.number
    if metric == "user_input":
        return goal.current.number
    if metric in ("active_mem_bp", "inactive_mem_bp"):
        return 5000
    if metric == "some_mem_psi_us":
        return 0
    if not 0 <= node < len(world.spec.nodes):
        return 10_000 if "free" in metric else 0
    total = world.spec.nodes[node].memory
    if metric == "node_eligible_mem_bp":
        sizes = [(region.size, world.node_of(region.area["at"])) for region in found if region.area]
        whole = sum(size for size, _ in sizes)
        return sum(size for size, where in sizes if where == node) * 10_000 // whole if whole else 0
    used = world.used(node)
    if "memcg" in metric:
        cgroup = work.running["goal_cgroups"].get(goal.cgroup.text)
        used = sum(
            area["size"]
            for process in world.processes.values()
            if world.state["cgroups"][process["cgroup"]]["id"] == cgroup
            for area in process["areas"]
            if world.node_of(area["at"]) == node
        )
    return (total - used if "free" in metric else used) * 10_000 // total
