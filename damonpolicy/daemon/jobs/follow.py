"""Following of processes, cgroups and memory that come and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from functools import partial
from typing import Any

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import contained
from damonpolicy.daemon.jobs.reload import Reloader
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.wake import beat
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.kernel.system.host import seconds
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.process_events import ProcessEvents
from damonpolicy.kernel.system.processes import Process, Selector, Table
from damonpolicy.plan.bind import Finder, Waits, bind, members
from damonpolicy.plan.diff import differing as changed_files
from damonpolicy.plan.diff import remade
from damonpolicy.plan.ir import CompiledKdamond, Member
from damonpolicy.plan.state import Managed

__all__ = ("FollowJob", "Follower", "Waiting")

_TRIES = 3
"""The number of tries, as a process may end before its commit, which the kernel refuses."""
_SETTLED = 0.2
"""Seconds that a process has to live before it is joined: many end early, and cost a commit
each.
"""
_SHOWN = 5
"""The most unfollowed processes to name."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Processes that a kdamond does not monitor yet, and the reason."""

    kdamond: str
    pids: tuple[int, ...]
    more: int
    why: str

    def to_json(self) -> dict[str, Any]:
        """The data for `status`."""
        return {"kdamond": self.kdamond, "pids": list(self.pids), "more": self.more,
                "why": self.why}  # fmt: skip


@dataclass(slots=True)
class Follower:
    """The comparison of what a service's kdamonds monitor with what they should."""

    reloader: Reloader
    keeper: Keeper
    table: Table
    events: ProcessEvents | None = None
    """The kernel's process events, if available."""
    moved: bool = False
    """Whether processes have changed since this was last set to false."""
    commits: int = 0
    held: float | None = None
    """When the commit that was too early at the last look may follow."""
    troubles: dict[str, str] = field(default_factory=dict)
    """The reasons why policies cannot be followed, by name."""

    @property
    def trouble(self) -> str:
        """All reasons in a line."""
        return "; ".join(f"`{name}`: {why}" for name, why in sorted(self.troubles.items()))

    @property
    def watched(self) -> bool:
        """Whether any kdamond of the service monitors processes."""
        return any(each.ops != "paddr" for each in self.keeper.kdamonds())

    @property
    def cgroups(self) -> frozenset[str]:
        """The cgroups by which kdamonds of the service choose processes."""
        targets = (target for each in self.keeper.kdamonds() for target in each.targets)
        selectors = (each.selector for each in targets if each.selector)
        return frozenset(each.cgroup for each in selectors if each.cgroup.strip("/"))

    def update(self) -> None:
        """Take the changes of processes since the last time."""
        changed = self.events.read() if self.events else None
        if not self.watched:
            self.table.forget()
            return
        self.moved |= changed != set()
        self.table.update(changed, self.cgroups)

    def look(self, *, everything: bool) -> bool:
        """Commit changes; with ``everything``, of cgroups and memory as well."""
        machine = self.reloader.machine
        managed, now = self.keeper.managed(), machine.monotonic()
        mine = {name: policy for name, policy in managed.policies.items()
                if policy.owner == self.reloader.owner}  # fmt: skip
        self.troubles = {name: why for name, why in self.troubles.items() if name in mine}
        late, self.held = [], None
        for name, policy in mine.items():
            try:
                with contained():
                    differing = [
                        x for x in policy.kdamonds if self._differs(managed, x, everything)
                    ]
            except DamonPolicyError as error:
                self._troubled(name, error)
                continue
            ready = max((self.reloader.spacing.ready(each, now) for each in differing), default=now)
            if ready > now:  # other changes until then share the commit
                self._hold(ready)
            elif differing:
                late.append(name)
            elif everything:
                self.troubles.pop(name, None)  # what could not be done is gone
        late.sort(key=self.troubles.__contains__)  # who fails again keeps nobody waiting
        return sum(self._commit(managed, name) for name in late) > 0

    def waiting(self) -> list[Waiting]:
        """Return the processes that should be followed and are not."""
        managed, machine = self.keeper.managed(), self.reloader.machine
        found = []
        for each in self.keeper.kdamonds():
            if each.ops == "paddr":
                continue
            wanted = members(each, machine, self.table.find) - self._followed(managed, each)
            if wanted:
                policy = each.full_name.partition("/")[0]
                young = all(self._young(start) for _, start in wanted)
                rest = "it has only just started" if young else "it waits for the next commit"
                pids = sorted(pid for pid, _ in wanted)
                shown, more = tuple(pids[:_SHOWN]), len(pids[_SHOWN:])
                why = self.troubles.get(policy, rest)
                found.append(Waiting(each.full_name, shown, more, why))
        return found

    def _hold(self, until: float) -> None:
        self.held = min(until, self.held or until)

    def _finder(self, followed: frozenset[Member]) -> Finder:
        """Return a finder of followed processes, and of others that are old enough."""

        def find(machine: Machine, selector: Selector) -> list[Process]:
            found = []
            for each in self.table.find(machine, selector):
                if (each.pid, each.start) in followed or not self._young(each.start):
                    found.append(each)
                else:
                    self._hold(seconds(each.start) + _SETTLED)
            return found

        return find

    def _young(self, start: int) -> bool:
        """Return whether a process has only just started; one from the future has another clock."""
        return 0 <= self.reloader.machine.monotonic() - seconds(start) < _SETTLED

    def _followed(self, managed: Managed, kdamond: CompiledKdamond) -> frozenset[Member]:
        slot = managed.slot_of(kdamond.full_name)
        return frozenset(managed.slots[slot].members if slot is not None else ())

    def _troubled(self, name: str, error: DamonPolicyError) -> None:
        if str(error) != self.troubles.get(name):
            log.warning("follow", policy=name, reason=str(error))
        self.troubles[name] = str(error)

    def _commit(self, managed: Managed, name: str) -> bool:
        """Commit the changes of one policy alone, so that it fails alone."""
        for left in reversed(range(_TRIES)):
            try:
                with contained():
                    changed = self._transact(name)
            except DamonPolicyError as error:
                self.reloader.tally.failed(error)
                # one of them has ended, and its pid may be another process' by now
                self.table.update(self._pids(managed, name))
                if not left:
                    self._troubled(name, error)
            else:
                self.commits += changed
                self.troubles.pop(name, None)
                return changed
        return False

    def _transact(self, name: str) -> bool:
        machine = self.reloader.machine
        with changing(machine, self.reloader.places) as session:
            policies = session.managed.policies
            if name not in policies:
                return False
            followed = frozenset(
                member
                for each in policies[name].kdamonds
                for member in self._followed(session.managed, each)
            )
            current, plan = prepare(
                machine, session.managed, policies, [name],
                find=self._finder(followed), waits=True,
            )  # fmt: skip
            terms = self.reloader.terms("processes, cgroups or memory came or went", follows=True)
            spares = partial(self._spares, policies[name].kdamonds)
            changed = session.carry_out(current, plan, replace(terms, spares=spares))
            self.reloader.note(plan)
            return changed

    def _spares(self, kdamonds: Iterable[CompiledKdamond], name: str) -> list[Member]:
        """Return spare processes for a kdamond with equal targets, the oldest first.

        A commit may take seconds; many processes end meanwhile, and as many have started.
        """
        kdamond = next((each for each in kdamonds if each.full_name == name), None)
        if kdamond is None or len(kdamond.targets) != 1:
            return []
        self.update()
        found = members(kdamond, self.reloader.machine, self.table.find)
        return sorted(found, key=lambda member: member[1])

    def _pids(self, managed: Managed, policy: str) -> set[int]:
        """Return the pids for a policy's kdamonds to monitor."""
        machine, find = self.reloader.machine, self.table.find
        kdamonds = (each for each in managed.policies[policy].kdamonds if each.ops != "paddr")
        return {pid for each in kdamonds for pid, _ in members(each, machine, find)}

    def _differs(self, managed: Managed, kdamond: CompiledKdamond, everything: bool) -> bool:  # noqa: FBT001
        machine, slot = self.reloader.machine, managed.slot_of(kdamond.full_name)
        record = managed.slots[slot] if slot is not None else None
        known = record.members if record else ()
        find = self._finder(frozenset(known))
        moved = kdamond.ops != "paddr" and members(kdamond, machine, find) != frozenset(known)
        if not moved and not everything:
            return False
        try:
            bound = bind(kdamond, machine, known, find=find, waits=True)
        except DamonPolicyError:
            return True  # the transaction reports the reason
        if isinstance(bound, Waits) or record is None:
            return isinstance(bound, Waits) != (record is None)
        return moved or bool(
            changed_files(record.files, bound.files)
            or remade(record.files, record.cgroups, bound.cgroups)
        )


@dataclass(slots=True)
class FollowJob:
    """The job that follows processes, by events or each second, and the rest less often.

    The kernel reports no moves between cgroups: if they matter, it looks each second anyway.

    However many come and go, it looks ``1 / often`` times a second, and a policy limits how often a
    kdamond is committed: changes share a commit.
    """

    follower: Follower
    often: float = 0.25
    poll: float = 1.0
    slow: float = 5.0
    due: float = 0.0
    _all_at: float = 0.0
    _busy: bool = False
    _settled: tuple[int, Managed] | None = None
    """The processes and policies for which there was nothing to do."""

    @property
    def readable(self) -> ProcessEvents | None:
        """The source of events, except while they are being gathered, or do not matter."""
        follower = self.follower
        return follower.events if not self._busy and follower.watched else None

    def run(self) -> None:
        """Follow the changes since the last time."""
        follower, machine = self.follower, self.follower.reloader.machine
        follower.moved = False
        follower.update()
        everything = machine.monotonic() >= self._all_at
        self._look(everything=everything)
        now = machine.monotonic()
        if everything:
            self._all_at = beat(now, self.slow)  # a late look delays no other
        self._busy = follower.events is not None and follower.moved
        wait = self.slow if follower.events and not follower.cgroups else self.poll
        self.due = now + self.often if self._busy else beat(now, wait)
        if follower.held is not None:
            self.due = min(self.due, follower.held)

    def _look(self, *, everything: bool) -> None:
        """Look, unless nothing has changed since there was nothing to do."""
        follower = self.follower
        seen = (follower.table.version, follower.keeper.managed())
        if not everything and self._settled is not None:
            if seen[0] == self._settled[0] and seen[1] is self._settled[1]:
                return
        changed = follower.look(everything=everything)
        quiet = not changed and follower.held is None and not follower.trouble
        self._settled = seen if quiet else None
