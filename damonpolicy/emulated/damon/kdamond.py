"""Kdamonds: start, commit, stop, and the other commands.

A slot is a numbered directory of DAMON's tree. A kdamond runs a copy of its files from its start or
last commit; the files show what is staged. ``ever``: it has been on since its directory was made,
and kernels answer differently then.
"""

from __future__ import annotations

import errno
from typing import Any

from damonpolicy.emulated.damon import checks, commits, quotas
from damonpolicy.emulated.damon.modules import Modules
from damonpolicy.emulated.damon.monitor import hits, passed, tried
from damonpolicy.emulated.damon.table import Directory, copy, get, number, numbered
from damonpolicy.emulated.values import Refusal
from damonpolicy.emulated.world import World

__all__ = ("WRECKED", "Kdamonds")

_INTERVALS = "monitoring_attrs/intervals"
_TRIED = "*/contexts/*/schemes/*/tried_regions/*"
WRECKED = "the emulated kernel is wrecked: "


class Kdamonds:
    """The kdamonds behind DAMON's tree."""

    def __init__(self, world: World, modules: Modules) -> None:
        self.world = world
        self.modules = modules

    def slot(self, name: str) -> dict[str, Any]:
        """Return the record of a numbered directory."""
        found: dict[str, Any] = self.world.state["slots"].setdefault(
            name,
            {"ever": False, "idle": 0, "walks": 0, "running": None, "refreshed": 0.0, "tried": {}},
        )
        return found

    def context(self, name: str) -> Directory | None:
        """Return the staged files of a slot's context, None if it has none."""
        found: Directory | None = self.world.state["tree"][name]["contexts"].get("0")
        return found

    def running(self, name: str) -> dict[str, Any] | None:
        """Return the running copy of a slot's kdamond, None while it is off."""
        slot = self.world.state["slots"].get(name)
        return slot["running"] if slot else None

    def any_running(self) -> bool:
        """Return whether the kdamond of any slot is on."""
        return any(each["running"] for each in self.world.state["slots"].values())

    def wreck(self, reason: str) -> Refusal:
        """Poison the machine, and return the writer's error."""
        self.world.poison(reason)
        return Refusal(errno.EIO, WRECKED + reason)

    def command(self, name: str, command: str) -> None:
        """Carry out a write to a slot's ``state``; raises Refusal."""
        profile, context = self.world.profile, self.context(name)
        if context is None and command != "off" and not profile.quirk("contexts.oops"):
            raise Refusal(errno.EINVAL)
        if command == "on":
            self._start(name)
        elif command == "off":
            self._stop(name)
        elif command == "clear_schemes_tried_regions":
            if profile.quirk("clear.running") and not self.running(name):
                raise Refusal(errno.EINVAL)
            self._clear(name)
        else:
            self._ask(name, command)

    def _start(self, name: str) -> None:
        slot, context = self.slot(name), self.context(name)
        if slot["running"]:
            raise Refusal(errno.EBUSY)
        if context is None:
            raise Refusal(errno.EINVAL)
        # the context of the last run is freed before any check
        slot.update(ever=False, idle=0, walks=0)
        targets = checks.check(self.world, context)
        if not checks.startable(self.world, context, targets):
            raise Refusal(errno.EINVAL)
        if self.modules.running():
            raise Refusal(errno.EBUSY)
        count = sum(1 for each in self.world.state["slots"].values() if each["running"])
        now = self.world.now()
        slot["ever"] = True
        slot["refreshed"] = now
        slot["running"] = {
            "pid": self.world.start_thread(f"kdamond.{count}"),
            "since": now,
            "targets": targets,
            "schemes": [quotas.scheme_state(now) for _ in numbered(context["schemes"])],
        }
        self._take(slot["running"], context)
        self._end_without_targets(name)
        self._oops(slot)

    def _take(self, running: dict[str, Any], context: Directory) -> None:
        """Make a kdamond run the staged files."""
        sample, aggregation = (
            number(context, f"{_INTERVALS}/{name}") for name in ("sample_us", "aggr_us")
        )
        running.update(
            tree=copy(context),
            ops=context["operations"],
            sample=sample,
            aggr=aggregation,
            samples=aggregation // max(sample, 1),
            tuned_at=self.world.now(),
            cgroups=checks.cgroups(self.world, context),
            goal_cgroups=checks.goal_cgroups(self.world, context),
        )

    def _oops(self, slot: dict[str, Any]) -> None:
        """Poison the machine if the running copy would wreck the kernel."""
        if slot["running"]:
            reason = checks.oopses(self.world, slot["running"]["tree"])
            if reason:
                self.world.poison(reason)

    def _stop(self, name: str) -> None:
        slot = self.slot(name)
        if not slot["ever"]:
            raise Refusal(errno.EINVAL)
        if slot["running"]:
            self._end(name)
        elif not self.world.profile.quirk("off.again"):
            raise Refusal(errno.EPERM)

    def _end(self, name: str) -> None:
        slot = self.slot(name)
        self.world.processes.pop(str(slot["running"]["pid"]), None)
        slot["running"] = None

    def _end_without_targets(self, name: str) -> None:
        """End a kdamond whose last process is gone (kdamond_need_stop()); never for paddr."""
        running = self.running(name)
        if (
            running
            and running["ops"] != "paddr"
            and not any(self.world.alive(each["pid"], each["start"]) for each in running["targets"])
        ):
            self._end(name)

    def end_all_without_targets(self) -> None:
        """Do the same for all, after a process has exited."""
        for name in list(self.world.state["slots"]):
            self._end_without_targets(name)

    def _ask(self, name: str, command: str) -> None:
        """Pass a command to a kdamond (damon_call() and damos_walk())."""
        slot, profile = self.slot(name), self.world.profile
        walk = command in ("update_schemes_tried_regions", "update_schemes_tried_bytes")
        if not slot["ever"]:
            raise Refusal(errno.EINVAL)
        if walk and not (profile.quirk("clear.running") and not slot["running"]):
            self._clear(name)
        running = slot["running"]
        if not running:
            raise self._unheard(slot, walk=walk)
        if self.context(name) is None:
            if command.startswith("commit"):
                raise Refusal(errno.EINVAL)
            raise self.wreck(f"{command} for a kdamond without a context")
        if walk:
            self._walk(name, running, regions=command.endswith("regions"))
        elif command == "commit":
            self._commit(name, running)
        else:
            self.world.spend(int(running["sample"]) / 1e6)
            quotas.settle(self.world, running)
            if command == "commit_schemes_quota_goals":
                self._commit_goals(name, running)
            else:
                self._update(name, running, command)

    def _unheard(self, slot: dict[str, Any], *, walk: bool) -> Refusal:
        """Return the answer to a command that no kdamond hears."""
        profile = self.world.profile
        slot["walks" if walk else "idle"] += 1
        if profile.quirk("idle.canceled"):
            return Refusal(errno.ECANCELED)
        if slot["idle"] > 1 and not walk and profile.quirk("idle.bug"):
            return self.wreck("a second command to a kdamond that is off")
        again = slot["walks"] > 1 if walk else slot["idle"] > 1
        busy = profile.quirk("idle.walk" if walk else "idle.busy")
        return Refusal(errno.EBUSY if again and busy else errno.EINVAL)

    def _commit(self, name: str, running: dict[str, Any]) -> None:
        """Commit the staged files to a running kdamond (damon_commit_ctx())."""
        world, context = self.world, self.context(name) or {}
        if world.profile.quirk("wmarks.hang") and quotas.idle(world, running):
            # with an interval of 0 they are inactive too, but the kdamond does not sleep
            raise self.wreck("a commit that waits for ever: watermarks keep all schemes inactive")
        world.spend(int(running["sample"]) / 1e6)
        quotas.settle(world, running)
        try:
            targets = checks.check(world, context)
            self._match(running, targets, context)
        except Refusal:
            if world.profile.has("commit.checked"):
                raise
            self._end(name)
            return
        reason = commits.changed_types(world, running["tree"], context) or checks.unmergeable(
            world, running["targets"], targets
        )
        states = running["schemes"]
        for state in states:
            # damos_commit() copies both from schemes that are new
            state.update(active=True, measured=False)
            if world.profile.quirk("quota.fresh"):
                state.update(window=None, esz=0, esz_bp=0)
        wanted = len(numbered(context["schemes"]))
        fresh = [quotas.scheme_state(world.now()) for _ in range(wanted - len(states))]
        before = running["tuned_at"] if self._same_intervals(running, context) else None
        commits.wait(world, running, context)
        commits.limit(world, running, context)
        ran = running["tree"]
        self._take(running, context)
        commits.keep(world, ran, running["tree"])
        running.update(targets=self._merged(running, targets), schemes=states[:wanted] + fresh)
        if before is not None:
            running["tuned_at"] = before
        self._end_without_targets(name)
        if reason:
            world.poison(reason)
        self._oops(self.slot(name))

    def _match(
        self, running: dict[str, Any], targets: list[dict[str, Any]], context: Directory
    ) -> None:
        """Refuse commits that damon_commit_ctx() refuses, such as obsolete targets without a match.

        The kernel tries it on a copy of the running context; if that cannot be copied, it is
        ENOMEM.
        """
        obsolete = any(each["obsolete"] for each in running["targets"])
        if obsolete or not checks.committable(self.world, running["tree"]):
            raise Refusal(errno.ENOMEM)
        unmatched = targets[len(running["targets"]) :]
        if any(each["obsolete"] for each in unmatched) or not checks.committable(
            self.world, context
        ):
            raise Refusal(errno.EINVAL)

    def _merged(
        self, running: dict[str, Any], targets: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Drop obsolete targets; one without regions keeps those it has."""
        merged = []
        for index, each in enumerate(targets):
            if index < len(running["targets"]) and not each["regions"]:
                each["regions"] = running["targets"][index]["regions"]
            if not each["obsolete"]:
                merged.append(each)
        return merged

    def _same_intervals(self, running: dict[str, Any], context: Directory) -> bool:
        """Return whether a commit leaves the intervals unchanged (damon_attrs_equals())."""
        return (
            str(running["sample"]) == get(context, f"{_INTERVALS}/sample_us")
            and str(running["aggr"]) == get(context, f"{_INTERVALS}/aggr_us")
            and running["tree"]["monitoring_attrs"]["intervals"].get("intervals_goal")
            == context["monitoring_attrs"]["intervals"].get("intervals_goal")
        )

    def _commit_goals(self, name: str, running: dict[str, Any]) -> None:
        """Commit only the goals (damos_sysfs_set_quota_scores())."""
        staged = numbered((self.context(name) or {})["schemes"])
        for mine, scheme in zip(numbered(running["tree"]["schemes"]), staged, strict=False):
            checks.check_goals(self.world, scheme, errno.EINVAL)
            if "goals" in scheme["quotas"]:
                ran = copy(mine)
                mine["quotas"]["goals"] = copy(scheme["quotas"]["goals"])
                commits.keep_goals(self.world, ran, mine)
        running["goal_cgroups"] = checks.goal_cgroups(self.world, running["tree"])
        for state in running["schemes"]:
            state["measured"] = False
        self._oops(self.slot(name))

    def _update(self, name: str, running: dict[str, Any], command: str) -> None:
        """Write results into the staged files."""
        context = self.context(name) or {}
        if command == "update_tuned_intervals":
            intervals = context["monitoring_attrs"]["intervals"]
            intervals["sample_us"] = str(running["sample"])
            intervals["aggr_us"] = str(running["aggr"])
            return
        for scheme, state in zip(numbered(context["schemes"]), running["schemes"], strict=False):
            if command == "update_schemes_stats":
                for each, value in state["stats"].items():
                    if each in scheme["stats"]:
                        scheme["stats"][each] = str(value)
            elif "effective_bytes" in scheme["quotas"]:
                scheme["quotas"]["effective_bytes"] = str(state["esz"])

    def refresh(self, name: str) -> None:
        """Write results into the staged files when ``refresh_ms`` is due."""
        slot = self.world.state["slots"].get(name)
        if not slot or not slot["running"]:
            return
        wait = number(self.world.state["tree"][name], "refresh_ms") / 1000
        if not wait:
            return
        if self.context(name) is None:
            if self.world.profile.quirk("contexts.oops"):
                raise self.wreck("a kdamond that refreshes the files of a context it lost")
            return
        if self.world.now() >= slot["refreshed"] + wait:
            slot["refreshed"] = self.world.now()
            quotas.settle(self.world, slot["running"])
            for command in (
                "update_tuned_intervals",
                "update_schemes_stats",
                "update_schemes_effective_quotas",
            ):
                self._update(name, slot["running"], command)

    def _clear(self, name: str) -> None:
        """Remove the results of the last walk."""
        context = self.context(name)
        if context is None:
            raise self.wreck("tried regions of a kdamond without a context")
        counts = self.slot(name)["tried"]
        for index, scheme in enumerate(numbered(context["schemes"])):
            shown = scheme.get("tried_regions", {})
            old = [each for each in shown if each.isdecimal()]
            for each in old:
                del shown[each]
            if not self.world.profile.quirk("tried.on"):
                counts[str(index)] = counts.get(str(index), 0) - len(old)
            if "total_bytes" in shown:
                shown["total_bytes"] = "0"

    def _walk(self, name: str, running: dict[str, Any], *, regions: bool) -> None:
        """Show the regions that schemes try next (damos_walk())."""
        world, context = self.world, self.context(name) or {}
        schemes = numbered(running["tree"]["schemes"])
        paused = get(running["tree"], "pause") == "Y"
        asleep = quotas.idle(world, running)
        if asleep == 0 and not paused and world.profile.quirk("walk.hang"):
            raise self.wreck("tried regions that never come: all schemes are inactive")
        if not schemes or paused or asleep is not None:
            if world.profile.quirk("walk.cancel"):
                raise Refusal(errno.ECANCELED)
            return
        states = running["schemes"]
        quotas.settle(world, running)
        if any(quotas.starves(world, running, scheme) for scheme in schemes):
            raise self.wreck(
                "tried regions that never come: tuning lets a scheme never have its turn"
            )
        waits = [
            state["at"] + quotas.period(running, scheme) - world.now()
            for scheme, state in zip(schemes, states, strict=True)
        ]
        world.spend(max(0.0, *waits))
        quotas.settle(world, running)
        staged = numbered(context["schemes"])
        for index, (scheme, state) in enumerate(zip(schemes, states, strict=True)):
            most = number(scheme, "stats/max_nr_snapshots")
            over = most and state["stats"]["nr_snapshots"] >= most
            if index < len(staged) and not over and state["active"]:
                found = quotas.within_quota(world, scheme, state, tried(world, running, scheme))
                self._show(name, index, running, scheme, found if regions else [])
                total = sum(region.size for region in found)
                if "total_bytes" in staged[index]["tried_regions"]:
                    staged[index]["tried_regions"]["total_bytes"] = str(total)

    def _show(
        self, name: str, index: int, running: dict[str, Any], scheme: Directory, found: list[Any]
    ) -> None:
        """Make the numbered directories of tried regions."""
        counts = self.slot(name)["tried"]
        twice = self.world.profile.quirk("tried.double")
        probes = running["tree"]["monitoring_attrs"].get("probes", {})
        shown = numbered((self.context(name) or {})["schemes"])[index]["tried_regions"]
        for region in found:
            counts[str(index)] = counts.get(str(index), 0) + 1
            each = self.world.layout.fresh(_TRIED)
            each["start"], each["end"] = str(region.start), str(region.end)
            each["nr_accesses"], each["age"] = str(region.accesses), str(region.age)
            if "sz_filter_passed" in each:
                each["sz_filter_passed"] = str(passed(self.world, running, scheme, region))
            for place, probe in enumerate(numbered(probes)):
                each["probes"][str(place)] = {"hits": str(hits(self.world, running, probe, region))}
            shown[str(counts[str(index)] - (0 if twice else 1))] = each
            counts[str(index)] += twice
