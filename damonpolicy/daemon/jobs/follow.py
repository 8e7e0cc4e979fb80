"""Following of processes, cgroups and memory that come and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from functools import partial

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import contained, tell
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.record import Waiting
from damonpolicy.daemon.scheduler import Job, beat
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.damon.tree import differing as changed_files
from damonpolicy.kernel.system.host import seconds
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.process_events import ProcessEvents
from damonpolicy.kernel.system.processes import Process, Selector
from damonpolicy.plan.bind import Finder, Waits, bind, members
from damonpolicy.plan.diff import remade
from damonpolicy.plan.ir import CompiledKdamond, CompiledPolicy, Member
from damonpolicy.plan.state import Managed

__all__ = ("FollowJob", "Follower")

_TRIES = 3
"""The number of tries, as a process may end before its commit, which the kernel refuses."""
_SETTLED = 0.2
"""Seconds that a process has to live before it is joined: many end early, and cost a commit
each.
"""
_SHOWN = 5
"""The most unfollowed processes to name."""


@dataclass(slots=True)
class Follower:
    """The comparison of what a service's kdamonds monitor with what they should."""

    keeper: Keeper
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
    def cgroups(self) -> frozenset[str]:
        """The cgroups by which kdamonds of the service choose processes."""
        targets = (target for each in self.keeper.kdamonds() for target in each.targets)
        selectors = (each.selector for each in targets if each.selector)
        return frozenset(each.cgroup for each in selectors if each.cgroup.strip("/"))

    def update(self) -> None:
        """Take the changes of processes since the last time."""
        changed = self.events.read() if self.events else None
        if not self.keeper.watches:
            self.keeper.table.forget()
            return
        self.moved |= changed != set()
        self.keeper.table.update(changed, self.cgroups)

    def look(self, *, everything: bool) -> bool:
        """Commit changes; with ``everything``, of cgroups and memory as well."""
        keeper = self.keeper
        managed, mine, now = keeper.managed(), keeper.policies(), keeper.machine.monotonic()
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
            ready = max((keeper.ready(each, now) for each in differing), default=now)
            if ready > now:  # other changes until then share the commit
                self._hold(ready)
            elif differing:
                late.append(name)
            elif everything:
                self.troubles.pop(name, None)  # what could not be done is gone
        late.sort(key=self.troubles.__contains__)  # who fails again keeps nobody waiting
        return sum(self._commit(mine[name]) for name in late) > 0

    def waiting(self) -> list[Waiting]:
        """Return the processes that should be followed and are not."""
        managed = self.keeper.managed()
        found = []
        for each in self.keeper.kdamonds():
            if each.ops == "paddr":
                continue
            wanted = self._members(each) - self._followed(managed, each)
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
            for each in self.keeper.table.find(machine, selector):
                if (each.pid, each.start) in followed or not self._young(each.start):
                    found.append(each)
                else:
                    self._hold(seconds(each.start) + _SETTLED)
            return found

        return find

    def _young(self, start: int) -> bool:
        """Return whether a process has only just started; one from the future has another clock."""
        return 0 <= self.keeper.machine.monotonic() - seconds(start) < _SETTLED

    def _followed(self, managed: Managed, kdamond: CompiledKdamond) -> frozenset[Member]:
        slot = managed.slot_of(kdamond.full_name)
        return frozenset(managed.slots[slot].members if slot is not None else ())

    def _troubled(self, name: str, error: DamonPolicyError) -> None:
        before = self.troubles.get(name, "")
        self.troubles[name] = tell("follow", str(error), before, policy=name)

    def _commit(self, policy: CompiledPolicy) -> bool:
        """Commit the changes of one policy alone, so that it fails alone."""
        for left in reversed(range(_TRIES)):
            try:
                changed = self._transact(policy.name)
            except DamonPolicyError as error:
                # one of them has ended, and its pid may be another process' by now
                watching = (each for each in policy.kdamonds if each.ops != "paddr")
                pids = {pid for each in watching for pid, _ in self._members(each)}
                self.keeper.table.update(pids)
                if not left:
                    self._troubled(policy.name, error)
            else:
                self.commits += changed
                self.troubles.pop(policy.name, None)
                return changed
        return False

    def _transact(self, name: str) -> bool:
        with self.keeper.changing() as session:
            policies = session.managed.policies
            if name not in policies:
                return False
            kdamonds = policies[name].kdamonds
            followed = frozenset(
                member for each in kdamonds for member in self._followed(session.managed, each)
            )
            terms = Terms(
                "processes, cgroups or memory came or went",
                follows=True,
                spares=partial(self._spares, kdamonds),
            )
            find = self._finder(followed)
            return self.keeper.bring(session, policies, [name], terms, find) is not None

    def _spares(self, kdamonds: Iterable[CompiledKdamond], name: str) -> list[Member]:
        """Return spare processes for a kdamond with equal targets, the oldest first.

        A commit may take seconds; many processes end meanwhile, and as many have started.
        """
        kdamond = next((each for each in kdamonds if each.full_name == name), None)
        if kdamond is None or len(kdamond.targets) != 1:
            return []
        self.update()
        return sorted(self._members(kdamond), key=lambda member: member[1])

    def _members(self, kdamond: CompiledKdamond) -> frozenset[Member]:
        """Return the processes for a kdamond to monitor."""
        return members(kdamond, self.keeper.machine, self.keeper.table.find)

    def _differs(self, managed: Managed, kdamond: CompiledKdamond, everything: bool) -> bool:  # noqa: FBT001
        machine, slot = self.keeper.machine, managed.slot_of(kdamond.full_name)
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
class FollowJob(Job):
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
        return follower.events if not self._busy and follower.keeper.watches else None

    def run(self) -> None:
        """Follow the changes since the last time."""
        follower, machine = self.follower, self.follower.keeper.machine
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
        seen = (follower.keeper.table.version, follower.keeper.managed())
        if not everything and self._settled is not None:
            if seen[0] == self._settled[0] and seen[1] is self._settled[1]:
                return
        changed = follower.look(everything=everything)
        quiet = not changed and follower.held is None and not follower.trouble
        self._settled = seen if quiet else None
