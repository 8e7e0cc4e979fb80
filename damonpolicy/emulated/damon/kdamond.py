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
from damonpolicy.emulated.damon.monitor import Work, hits, works
from damonpolicy.emulated.damon.regions import Region
from damonpolicy.emulated.damon.table import (
    CONTEXT,
    Directory,
    Files,
    copy,
    entry,
    inside,
    look,
    put,
)
from damonpolicy.emulated.values import Refusal
from damonpolicy.emulated.world import World
from damonpolicy.kernel.damon.directory import Entries, File
from damonpolicy.kernel.damon.schema import pattern
from damonpolicy.kernel.damon.view import Kdamond, TriedRegion

__all__ = ("WRECKED", "Kdamonds")

_TRIED = pattern(f"0/{Kdamond().schemes[0].tried_regions[0].path}")
_HITS = pattern(f"0/{Kdamond().schemes[0].tried_regions[0].probes[0].path}")
_REFRESH = Kdamond().refresh.path
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
        found: Directory | None = entry(self.world.state["tree"], f"{name}/{CONTEXT}")
        return found

    def staged(self, name: str) -> Kdamond:
        """Return the view of a slot's staged files."""
        return Kdamond(Files(self.world.state["tree"][name]))

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
        staged = self.staged(name)
        targets = checks.check(self.world, staged)
        if not checks.startable(self.world, staged, targets):
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
            "schemes": [quotas.scheme_state(now) for _ in staged.schemes],
        }
        self._take(slot["running"], context)
        self._end_without_targets(name)
        self._oops(slot)

    def _take(self, running: dict[str, Any], context: Directory) -> None:
        """Make a kdamond run the staged files."""
        files = look(context)
        sample, aggregation = files.intervals.sample.number, files.intervals.aggregation.number
        running.update(
            tree=copy(context),
            ops=files.ops.text,
            sample=sample,
            aggr=aggregation,
            samples=aggregation // max(sample, 1),
            tuned_at=self.world.now(),
            cgroups=checks.cgroups(self.world, files),
            goal_cgroups=checks.goal_cgroups(self.world, files),
        )

    def _oops(self, slot: dict[str, Any]) -> None:
        """Poison the machine if the running copy would wreck the kernel."""
        if slot["running"]:
            reason = checks.oopses(self.world, look(slot["running"]["tree"]))
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
        world, staged = self.world, self.staged(name)
        if world.profile.quirk("wmarks.hang") and quotas.idle(world, running):
            # with an interval of 0 they are inactive too, but the kdamond does not sleep
            raise self.wreck("a commit that waits for ever: watermarks keep all schemes inactive")
        world.spend(int(running["sample"]) / 1e6)
        quotas.settle(world, running)
        ran = look(running["tree"])
        try:
            targets = checks.check(world, staged)
            self._match(running, targets, staged)
        except Refusal:
            if world.profile.has("commit.checked"):
                raise
            self._end(name)
            return
        reason = commits.changed_types(world, ran, staged) or checks.unmergeable(
            world, running["targets"], targets
        )
        states = running["schemes"]
        for state in states:
            # damos_commit() copies both from schemes that are new
            state.update(active=True, measured=False)
            if world.profile.quirk("quota.fresh"):
                state.update(window=None, esz=0, esz_bp=0)
        wanted = len(staged.schemes)
        fresh = [quotas.scheme_state(world.now()) for _ in range(wanted - len(states))]
        before = running["tuned_at"] if self._same_intervals(running, staged) else None
        commits.wait(world, running, staged)
        commits.limit(world, running, staged)
        self._take(running, self.context(name) or {})
        commits.keep(world, ran, look(running["tree"]))
        running.update(targets=self._merged(running, targets), schemes=states[:wanted] + fresh)
        if before is not None:
            running["tuned_at"] = before
        self._end_without_targets(name)
        if reason:
            world.poison(reason)
        self._oops(self.slot(name))

    def _match(
        self, running: dict[str, Any], targets: list[dict[str, Any]], staged: Kdamond
    ) -> None:
        """Refuse commits that damon_commit_ctx() refuses, such as obsolete targets without a match.

        The kernel tries it on a copy of the running context; if that cannot be copied, it is
        ENOMEM.
        """
        obsolete = any(each["obsolete"] for each in running["targets"])
        if obsolete or not checks.committable(self.world, look(running["tree"])):
            raise Refusal(errno.ENOMEM)
        unmatched = targets[len(running["targets"]) :]
        if any(each["obsolete"] for each in unmatched) or not checks.committable(
            self.world, staged
        ):
            raise Refusal(errno.EINVAL)

    def _merged(
        self, running: dict[str, Any], targets: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Drop obsolete targets; one without regions keeps those it has."""
        for each, before in zip(targets, running["targets"], strict=False):
            each["regions"] = each["regions"] or before["regions"]
        return [each for each in targets if not each["obsolete"]]

    def _same_intervals(self, running: dict[str, Any], staged: Kdamond) -> bool:
        """Return whether a commit leaves the intervals unchanged (damon_attrs_equals())."""
        goal = look(running["tree"]).intervals.auto_tune
        return (
            running["sample"] == staged.intervals.sample.number
            and running["aggr"] == staged.intervals.aggregation.number
            and inside(goal) == inside(staged.intervals.auto_tune)
        )

    def _commit_goals(self, name: str, running: dict[str, Any]) -> None:
        """Commit only the goals (damos_sysfs_set_quota_scores())."""
        ran, runs = look(copy(running["tree"])), look(running["tree"])
        for before, mine, staged in zip(
            ran.schemes, runs.schemes, self.staged(name).schemes, strict=False
        ):
            checks.check_goals(self.world, staged, errno.EINVAL)
            inside(mine.quota.goals).clear()
            inside(mine.quota.goals).update(copy(inside(staged.quota.goals)))
            commits.keep_goals(self.world, quotas.goals(before), mine)
        running["goal_cgroups"] = checks.goal_cgroups(self.world, runs)
        for state in running["schemes"]:
            state["measured"] = False
        self._oops(self.slot(name))

    def _update(self, name: str, running: dict[str, Any], command: str) -> None:
        """Write results into the staged files."""
        staged = self.staged(name)
        if command == "update_tuned_intervals":
            put(staged.intervals.sample, running["sample"])
            put(staged.intervals.aggregation, running["aggr"])
            return
        for scheme, state in zip(staged.schemes, running["schemes"], strict=False):
            if command == "update_schemes_stats":
                for each, value in state["stats"].items():
                    put(File(scheme.tree, scheme.stats.below(each)), value)
            else:
                put(scheme.quota.effective_bytes, state["esz"])

    def refresh(self, name: str) -> None:
        """Write results into the staged files when ``refresh_ms`` is due."""
        slot = self.world.state["slots"].get(name)
        if not slot or not slot["running"]:
            return
        wait = int(self.world.state["tree"][name].get(_REFRESH, 0)) / 1000
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
        if self.context(name) is None:
            raise self.wreck("tried regions of a kdamond without a context")
        counts = self.slot(name)["tried"]
        for index, scheme in enumerate(self.staged(name).schemes):
            shown = inside(scheme.tried_regions)
            old = [each for each in shown if each.isdecimal()]
            for each in old:
                del shown[each]
            if not self.world.profile.quirk("tried.on"):
                counts[str(index)] = counts.get(str(index), 0) - len(old)
            put(scheme.tried_bytes, 0)

    def _walk(self, name: str, running: dict[str, Any], *, regions: bool) -> None:
        """Show the regions that schemes try next (damos_walk())."""
        world, schemes = self.world, works(self.world, running)
        paused, asleep = look(running["tree"]).paused.yes, quotas.idle(world, running)
        if asleep == 0 and not paused and world.profile.quirk("walk.hang"):
            raise self.wreck("tried regions that never come: all schemes are inactive")
        if not schemes or paused or asleep is not None:
            if world.profile.quirk("walk.cancel"):
                raise Refusal(errno.ECANCELED)
            return
        quotas.settle(world, running)
        if any(map(quotas.starves, schemes)):
            raise self.wreck(
                "tried regions that never come: tuning lets a scheme never have its turn"
            )
        waits = [each.state["at"] + each.period - world.now() for each in schemes]
        world.spend(max(0.0, *waits))
        quotas.settle(world, running)
        counts = self.slot(name)["tried"]
        shown = zip(schemes, self.staged(name).schemes, strict=False)
        for index, (work, scheme) in enumerate(shown):
            if work.state["active"] and not quotas.over(work):
                found = quotas.within_quota(work, work.tried())
                put(scheme.tried_bytes, sum(region.size for region in found))
                if regions and found:
                    last = counts.get(str(index), 0)
                    counts[str(index)] = self._show(work, scheme.tried_regions, found, last)

    def _show(self, work: Work, shown: Entries[TriedRegion], found: list[Region], last: int) -> int:
        """Make the directories of tried regions, numbered after the last; return the new last."""
        fresh, twice = self.world.layout.fresh, self.world.profile.quirk("tried.double")
        for region, counted in zip(found, hits(self.world, work.running, found), strict=True):
            last += 1
            number = last - (0 if twice else 1)
            inside(shown)[str(number)] = fresh(_TRIED)
            made = shown[number]
            for file, value in (
                (made.start, region.start), (made.end, region.end),
                (made.nr_accesses, region.accesses), (made.age, region.age),
                (made.filter_passed, work.passed(region)),
            ):  # fmt: skip
                put(file, value)
            for probe, count in enumerate(counted):
                inside(made.probes)[str(probe)] = fresh(_HITS)
                put(made.probes[probe].hits, count)
            last += twice
        return last
