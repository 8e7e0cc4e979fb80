"""Feeding of goals from user space: one write and one command per change.

A staged number need not be in effect: it counts as handed over when its command succeeded, and a
starting service assumes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U64_MAX
from damonpolicy.daemon.containment import contained, tell
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.meters import meter, pause, soonest, troubles, turns
from damonpolicy.daemon.scheduler import Job
from damonpolicy.engine.execute import OperationFailed, ask, perform
from damonpolicy.engine.neutral import staged
from damonpolicy.engine.session import changing
from damonpolicy.kernel.damon.tree import kdamond_path
from damonpolicy.kernel.damon.view import Goal
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.machine import read_or
from damonpolicy.plan.ir import CompiledKdamond, Feed
from damonpolicy.tuning.sources import Meter, Stale

__all__ = ("FeedJob",)


@dataclass(slots=True)
class _Fed:
    """A fed goal, and its state."""

    kdamond: CompiledKdamond
    feed: Feed
    meter: Meter
    due: float
    handed: str = ""
    """The last value that the kernel has taken from us, if known."""
    trouble: str = ""

    @property
    def name(self) -> str:
        """The kdamond and the goal's directory."""
        return f"{self.kdamond.full_name}/{self.feed.goal}"


@dataclass(slots=True)
class FeedJob(Job):
    """The job that reads sources, and hands changes to the kernel."""

    keeper: Keeper
    due: float = 0.0
    writes: int = 0
    _fed: dict[str, _Fed] = field(default_factory=dict)

    def troubles(self) -> Mapping[str, str]:
        """Return why goals are not fed, by kdamond and directory."""
        return troubles(self._fed.values())

    def run(self) -> None:
        """Feed the goals that are due."""
        machine = self.keeper.machine
        self._renew()
        for each in turns(self._fed.values(), machine.monotonic()):
            each.due = max(machine.monotonic(), each.due + each.feed.every / 1e6)
            now = machine.monotonic()
            ready = self.keeper.ready(each.kdamond, now, joins=True)
            if each.kdamond.pressed and ready > now:  # a goal on pressure needs pauses
                each.due = ready
                continue
            trouble = self._feed(each)
            each.due = max(each.due, machine.monotonic() + pause([each.meter]))
            each.trouble = tell(
                "feed", trouble, each.trouble, kdamond=each.kdamond.full_name, goal=each.feed.goal
            )
        self.due = soonest(self._fed.values(), machine.monotonic())

    def _feed(self, each: _Fed) -> str:
        """Feed one goal; returns the problem, if any."""
        value: int | None
        stale = ""
        try:
            with contained():
                try:
                    value = min(max(round(each.meter.read()), 0), U64_MAX)
                except Stale as error:
                    # the kernel would go on tuning by an old number; with a reached goal it stops
                    value, stale = None, str(error)
                return self._hand_over(each, value) or stale
        except DamonPolicyError as error:
            return stale or error.message

    def _renew(self) -> None:
        """Take the goals of the managed set; those that stay keep their readings."""
        now = self.keeper.machine.monotonic()
        found: dict[str, _Fed] = {}
        for kdamond in self.keeper.kdamonds():
            for feed in kdamond.feeds:
                fed = self._fed.get(f"{kdamond.full_name}/{feed.goal}")
                if fed is None or fed.feed != feed:
                    fed = _Fed(kdamond, feed, meter(feed.source, self.keeper), now)
                fed.kdamond = kdamond
                found[fed.name] = fed
        self._fed = found

    def _hand_over(self, each: _Fed, value: int | None) -> str:
        """Hand the kdamond a value, unless it has it; returns the problem, if any.

        Without a value the goal is reported as reached, so that the quota stays.
        """
        machine, managed = self.keeper.machine, self.keeper.managed()
        kdamond, goal = each.kdamond.full_name, each.feed.goal
        slot = managed.slot_of(kdamond)
        if slot is None:
            return "it does not run"
        files = Goal(managed.slots[slot].files, goal)
        path = kdamond_path(slot, files.current.path)
        text = files.target.text if value is None else str(value)
        if each.handed == text == read_or(machine, path):
            return ""
        each.handed = ""
        with changing(machine, self.keeper.places) as session:
            record = session.managed.slots.get(slot)
            if record is None or record.kdamond != kdamond:
                return "it does not run"
            if changed := staged(machine, slot, record.files):
                return f"`{slot}/{changed}` was changed by someone"
            before = read_or(machine, path)
            try:
                perform(machine, Operation("write", "stage", path, before, text, slot))
                ask(machine, slot, "commit_schemes_quota_goals", record.files)
            except OperationFailed as error:
                return str(error)
        if each.kdamond.pressed:
            self.keeper.fed(kdamond)
        each.handed = text
        self.writes += 1
        return ""
