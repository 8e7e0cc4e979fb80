"""Progress of a running kdamond over time: statistics, quotas, goals, watermarks, tuning.

Kernels count and limit sizes in core units, despite the files' names: these are bytes only with an
address unit of 1.
"""

from __future__ import annotations

from typing import Any

from damonpolicy.emulated.damon.monitor import applied, next_input, passed, tried, tuned
from damonpolicy.emulated.damon.regions import Region
from damonpolicy.emulated.damon.table import Directory, get, number, numbered
from damonpolicy.emulated.world import World

__all__ = (
    "STATISTICS",
    "idle",
    "period",
    "scheme_state",
    "settle",
    "starves",
    "watches",
    "within_quota",
)

STATISTICS = (
    "nr_tried",
    "sz_tried",
    "nr_applied",
    "sz_applied",
    "sz_ops_filter_passed",
    "qt_exceeds",
    "nr_snapshots",
)

_STEPS = 64
"""The most steps of tuning, and the most charge windows, to compute at a time."""

_U64 = (1 << 64) - 1
_PAGE = 4096


def scheme_state(now: float) -> dict[str, Any]:
    """Return the initial state of a scheme: nothing tried, no quota in effect."""
    return {
        "at": now, "window": None, "full": 0, "esz": 0, "esz_bp": 0, "active": True,
        "measured": False,
        "stats": dict.fromkeys(STATISTICS, 0),
    }  # fmt: skip


def period(running: dict[str, Any], scheme: Directory) -> float:
    """Return the seconds between two applications of a scheme."""
    return max(number(scheme, "apply_interval_us") or int(running["aggr"]), 1) / 1e6


def starves(world: World, running: dict[str, Any], scheme: Directory) -> bool:
    """Return whether a scheme is never applied, as each tuning restarts its wait.

    mm/damon/core.c: kdamond_tune_intervals() ends in damon_set_attrs(), which sets next_apply_sis.
    """
    every = number(running["tree"], "monitoring_attrs/intervals/intervals_goal/aggrs")
    return (
        bool(every)
        and world.profile.quirk("tune.starves")
        and period(running, scheme) > every * int(running["aggr"]) / 1e6
    )


def _watch(world: World, scheme: Directory, state: dict[str, Any]) -> bool:
    """Return whether watermarks allow a scheme to work (damos_wmark_wait_us())."""
    marks = scheme["watermarks"]
    if marks["metric"] == "none":
        return bool(state["active"])
    free = world.free_permil()
    high, mid, low = (number(marks, name) for name in ("high", "mid", "low"))
    if free > high or free < low:
        state["active"] = False
    elif free < mid:
        state["active"] = True
    return bool(state["active"])


def idle(world: World, running: dict[str, Any]) -> float | None:
    """Return whether there are schemes, and watermarks keep all of them from working.

    Returns the seconds that the kdamond then sleeps at a time, otherwise None.
    """
    schemes = list(zip(numbered(running["tree"]["schemes"]), running["schemes"], strict=True))
    working = sum(_watch(world, scheme, state) for scheme, state in schemes)
    if working or not schemes:
        return None
    return min(number(scheme, "watermarks/interval_us") for scheme, _ in schemes) / 1e6


def watches(world: World, running: dict[str, Any]) -> bool:
    """Return whether a kdamond monitors: it is not paused, and not all schemes are asleep."""
    return get(running["tree"], "pause") != "Y" and idle(world, running) is None


def settle(world: World, running: dict[str, Any]) -> None:
    """Bring a running kdamond to the present."""
    now = world.now()
    if get(running["tree"], "pause") == "Y":
        running["tuned_at"] = now
    else:
        _tune(world, running, now)
    for scheme, state in zip(numbered(running["tree"]["schemes"]), running["schemes"], strict=True):
        ticks = int((now - state["at"]) / period(running, scheme))
        paused = get(running["tree"], "pause") == "Y"
        if paused or starves(world, running, scheme) or not _watch(world, scheme, state):
            state["at"] = now
        elif ticks > 0:
            _apply(world, running, scheme, state, ticks)


def _tune(world: World, running: dict[str, Any], now: float) -> None:
    """Take the steps of tuning that are due; each waits for some aggregations."""
    every = number(running["tree"], "monitoring_attrs/intervals/intervals_goal/aggrs")
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


def _apply(
    world: World, running: dict[str, Any], scheme: Directory, state: dict[str, Any], ticks: int
) -> None:
    """Count ``ticks`` applications of a scheme, within its quota and snapshots."""
    found, wait = tried(world, running, scheme), period(running, scheme)
    state["at"] += ticks * wait
    most = number(scheme, "stats/max_nr_snapshots")
    if most:
        ticks = max(min(ticks, most - state["stats"]["nr_snapshots"]), 0)
    state["stats"]["nr_snapshots"] += ticks
    if not _limited(scheme):
        _count(world, running, scheme, state, found, ticks)
        return
    reset = max(number(scheme, "quotas/reset_interval_ms") / 1000, wait)
    if state["window"] is None:
        state["window"] = state["at"] - ticks * wait
        if not world.profile.quirk("quota.late"):
            _charge(world, running, scheme, state, found)
    if _waived(world, state):
        _count(world, running, scheme, state, found, ticks)
    windows = int((state["at"] - state["window"]) / reset)
    for _ in range(min(windows, _STEPS)):
        state["stats"]["qt_exceeds"] += state["full"]
        _charge(world, running, scheme, state, found)
    state["window"] += windows * reset


def _charge(
    world: World,
    running: dict[str, Any],
    scheme: Directory,
    state: dict[str, Any],
    found: list[Region],
) -> None:
    """Begin a charge window: compute its quota, and use it up as far as there is memory."""
    _effective(world, running, scheme, state, found)
    fitting = within_quota(world, scheme, state, found)
    _count(world, running, scheme, state, fitting, 1)
    size = sum(region.size for region in found)
    if world.profile.quirk("quota.crumbs"):
        size = sum(region.size for region in fitting)
        state["stats"]["nr_tried"] += len(found) - len(fitting) if size < state["esz"] else 0
    state["full"] = int(size >= state["esz"])


def _limited(scheme: Directory) -> bool:
    quotas = scheme["quotas"]
    goals = number(quotas, "goals/nr_goals") if "goals" in quotas else 0
    return bool(number(quotas, "ms") or number(quotas, "bytes") or goals)


def _waived(world: World, state: dict[str, Any]) -> bool:
    """Return whether a quota does not limit yet."""
    return not state["esz"] and world.profile.quirk("quota.late")


def within_quota(
    world: World, scheme: Directory, state: dict[str, Any], found: list[Region]
) -> list[Region]:
    """Return the regions within a scheme's quota, the last one shortened."""
    if not _limited(scheme) or _waived(world, state):
        return found
    room, result = state["esz"], []
    for region in found:
        least = max(_PAGE // region.unit, 1)
        size = min(region.size, room // least * least)
        if size <= 0:
            break
        room -= size
        result.append(
            Region(
                region.start, region.start + size, region.target, region.accesses, region.age,
                region.area, region.cgroup, region.unit,
            )
        )  # fmt: skip
    return result


def _count(
    world: World,
    running: dict[str, Any],
    scheme: Directory,
    state: dict[str, Any],
    found: list[Region],
    times: int,
) -> None:
    stats = state["stats"]
    done = [applied(world, running, scheme, region) for region in found]
    stats["nr_tried"] += len(found) * times
    stats["sz_tried"] += sum(region.size for region in found) * times
    stats["nr_applied"] += sum(1 for size in done if size) * times
    stats["sz_applied"] += sum(done) * times
    stats["sz_ops_filter_passed"] += times * sum(
        passed(world, running, scheme, region) for region in found
    )


def _effective(
    world: World,
    running: dict[str, Any],
    scheme: Directory,
    state: dict[str, Any],
    found: list[Region],
) -> None:
    """Compute the quota of the next window in bytes (damos_set_effective_quota())."""
    quotas = scheme["quotas"]
    size, time = number(quotas, "bytes"), number(quotas, "ms")
    goals = [goal for goal in numbered(quotas.get("goals", {})) if number(goal, "target_value")]
    if not goals and not time:
        state["esz"] = size
        return
    room = _U64
    if goals:
        score = max(
            _current(world, running, goal, found) * 10_000 // number(goal, "target_value")
            for goal in goals
        )
        if score <= 10_000 and _unmeasured(world, goals, state):
            pass
        elif get(quotas, "goal_tuner", "consist") == "consist":
            state["esz_bp"] = next_input(max(state["esz_bp"], 10_000), score)
        else:
            state["esz_bp"] = 0 if score >= 10_000 else (size * 10_000 if size else _U64)
        state["measured"] = True
        room = state["esz_bp"] // 10_000
    if time:
        room = max(min(_PAGE * 1024 * time, room), _PAGE)
    state["esz"] = min(room, size) if size else room


def _unmeasured(world: World, goals: list[Directory], state: dict[str, Any]) -> bool:
    """Return whether a goal on pressure is new, and has no earlier value to compare with."""
    return (
        not state["measured"]
        and any(get(goal, "target_metric", "") == "some_mem_psi_us" for goal in goals)
        and world.profile.quirk("goal.unmeasured")
    )


def _current(world: World, running: dict[str, Any], goal: Directory, found: list[Region]) -> int:
    """Measure a goal's metric; pressure is always 0 on this machine."""
    metric, node = get(goal, "target_metric", "user_input"), number(goal, "nid")
    if metric == "user_input":
        return number(goal, "current_value")
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
        cgroup = running["goal_cgroups"].get(goal["path"])
        used = sum(
            area["size"]
            for process in world.processes.values()
            if world.state["cgroups"][process["cgroup"]]["id"] == cgroup
            for area in process["areas"]
            if world.node_of(area["at"]) == node
        )
    return (total - used if "free" in metric else used) * 10_000 // total
