"""Observation, every 30 seconds, of the kernel's work and of drift."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from damonpolicy.base import log
from damonpolicy.base.errors import Busy, DamonPolicyError, LockHeld
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import contained, tell
from damonpolicy.daemon.jobs.repair import Repairer, ended
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.record import GoalSeen
from damonpolicy.daemon.scheduler import Job
from damonpolicy.engine.execute import naps
from damonpolicy.engine.session import Session, changing, refresh
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.damon.view import Kdamond, Scheme
from damonpolicy.kernel.system.host import cpu_seconds
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.observe.collect.modules import ModuleStatus, look
from damonpolicy.observe.status.document import Drift, drift
from damonpolicy.observe.status.schemes import Goal, effective, goals, statistics
from damonpolicy.observe.watermarks import Watch, free_memory, of_scheme
from damonpolicy.plan.machine_state import Current, retrieve
from damonpolicy.plan.state import Managed, SlotRecord
from damonpolicy.tuning.goals import GoalMeter, Trend, score, trend
from damonpolicy.tuning.sources import Stale

__all__ = ("KdamondSeen", "Observation", "ObserveJob", "Observer", "SchemeSeen")

_REMEMBERED = 6
"""The number of observations for a trend."""
_SHARE = 20
"""The share of time to wait for kdamonds' answers is at most one part in this many."""
_HELD = 1.0
"""Seconds until the next try if somebody is changing the machine."""
_NAP = 10.0
"""Kdamonds that may sleep longer by watermarks are not asked: everything else would wait."""
_TOLD = 10
"""The most drifted files to log one by one."""


@dataclass(frozen=True, slots=True)
class SchemeSeen:
    """A scheme's statistics, by the kernel's names (sizes in bytes), and its quota in bytes.

    ``score`` is in basis points and of all its goals, None if one of them is unknown;
    ``trend`` is that of the quota in effect.
    """

    name: str
    statistics: Mapping[str, int]
    effective: int | None = None
    goals: tuple[GoalSeen, ...] = ()
    score: int | None = None
    trend: Trend | None = None
    watch: Watch | None = None


@dataclass(frozen=True, slots=True)
class KdamondSeen:
    """A running kdamond of ours; ``cpu`` is the CPU time of its thread so far, in seconds.

    ``asked``: the numbers of its schemes are new, not those of an earlier request.
    """

    name: str
    targets: int
    cpu: float | None
    schemes: tuple[SchemeSeen, ...]
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Observation:
    """One look; ``at`` is seconds since the epoch."""

    at: float
    generation: int
    drift: tuple[Drift, ...]
    kdamonds: tuple[KdamondSeen, ...]
    free: int | None = None
    """The free memory, in parts of 1000."""
    modules: tuple[ModuleStatus, ...] = ()


class _Memory:
    """A scheme's state between observations."""

    def __init__(self, machine: Machine, wanted: Sequence[Goal]) -> None:
        self.goals = wanted
        self.quotas: deque[int] = deque(maxlen=_REMEMBERED)
        self._meters = [
            GoalMeter(
                machine, each.metric, node=each.node, cgroup=each.cgroup,
                complement=each.complement, window=each.window / 1e3,
            )
            for each in wanted
        ]  # fmt: skip

    def measure(self, wanted: Sequence[Goal]) -> tuple[GoalSeen, ...]:
        """Measure a goal that the kernel measures; the values of fed goals are known."""
        seen = []
        for goal, meter in zip(wanted, self._meters, strict=True):
            try:
                value = meter.read() if goal.current is None else goal.current
                seen.append(GoalSeen(value, score(value, goal.target)))
            except Stale as error:
                seen.append(GoalSeen(why=str(error)))
        return tuple(seen)


class Observer:
    """The maker of observations, for a service whose policies are ``owner``'s."""

    def __init__(self, machine: Machine, owner: str) -> None:
        self._machine = machine
        self._owner = owner
        self._memories: dict[str, _Memory] = {}

    def look(self, current: Current, managed: Managed) -> Observation:
        """Make an observation from fresh data."""
        free = free_memory(self._machine)
        kdamonds = tuple(
            self._kdamond(current.slot(slot), record, free, asked=not _naps(record))
            for slot, record in managed.slots.items()
            if slot in current.slots
            and current.running(slot)
            and current.owner(slot, managed) == "ours"
        )
        there = {f"{each.name}/{scheme.name}" for each in kdamonds for scheme in each.schemes}
        self._memories = {key: each for key, each in self._memories.items() if key in there}
        mine = {
            slot: record
            for slot, record in managed.slots.items()
            if managed.policies[record.kdamond.partition("/")[0]].owner == self._owner
        }
        followed = {s for s, each in mine.items() if ended(self._machine, current, s, each)}
        found = tuple(drift(current, managed, without=followed, followed=mine))
        modules = tuple(look(self._machine, current.modules, free))
        return Observation(time.time(), managed.generation, found, kdamonds, free, modules)

    def _kdamond(
        self, tree: Tree, record: SlotRecord, free: int | None, *, asked: bool
    ) -> KdamondSeen:
        kdamond = Kdamond(tree)
        return KdamondSeen(
            record.kdamond,
            len(kdamond.targets),
            cpu_seconds(self._machine, record.pid),
            tuple(self._scheme(each, record, free, asked=asked) for each in kdamond.schemes),
            asked,
        )

    def _scheme(
        self, scheme: Scheme, record: SlotRecord, free: int | None, *, asked: bool
    ) -> SchemeSeen:
        name = record.names.get(scheme.path, scheme.path.rpartition("/")[2])
        key = f"{record.kdamond}/{name}"
        wanted, quota = goals(scheme.quota), effective(scheme.quota)
        memory = self._memories.get(key)
        if memory is None or memory.goals != wanted:
            memory = self._memories[key] = _Memory(self._machine, wanted)
        if quota is not None and asked:
            memory.quotas.append(quota)
        seen = memory.measure(wanted)
        scores = [each.score for each in seen if each.score is not None]
        return SchemeSeen(
            name,
            _known(statistics(scheme), asked=asked),
            quota,
            seen,
            max(scores) if scores and len(scores) == len(seen) else None,
            trend(memory.quotas) if wanted else None,
            of_scheme(scheme.watermarks, free),
        )


def _known(numbers: Mapping[str, int | None], *, asked: bool) -> dict[str, int]:
    """Leave out unknown numbers, such as zeros before the first request."""
    if not asked and not any(numbers.values()):
        return {}
    return {name: value for name, value in numbers.items() if value is not None}


@dataclass(slots=True)
class ObserveJob(Job):
    """The job that observes every ``every`` seconds, and repairs drift on request."""

    keeper: Keeper
    repairer: Repairer
    told: Callable[[], None] = lambda: None
    """Called after each observation."""
    every: float = 30.0
    due: float = 0.0
    last: Observation | None = None
    drifts: int = 0
    """The number of drifted files and settings found since the start."""
    trouble: str = ""
    _observer: Observer | None = None

    def run(self) -> None:
        """Observe, report, and repair."""
        machine = self.keeper.machine
        begin = machine.monotonic()
        try:
            with contained():
                observation = self._observe()
        except LockHeld:
            self.due = begin + _HELD
            return
        except DamonPolicyError as error:
            self.trouble = tell("observe", str(error), self.trouble)
            self.due = begin + self.every
            return
        now = machine.monotonic()
        self.due = now + max(self.every, _SHARE * (now - begin))
        self._compare(observation)
        if observation.drift and self.repairer.repair():
            self.due = now  # the state afterwards
        self.told()

    def _observe(self) -> Observation:
        machine = self.keeper.machine
        observer = self._observer = self._observer or Observer(machine, self.keeper.owner)
        with changing(machine, self.keeper.places, settle=True) as session:
            self.trouble = tell("observe", _refreshed(session), self.trouble)
            managed = session.managed
            return observer.look(retrieve(machine, managed.settings), managed)

    def _compare(self, observation: Observation) -> None:
        """Log drift that began, changed or ended."""
        before = {(each.where, each.path): each for each in self.last.drift} if self.last else {}
        now = {(each.where, each.path): each for each in observation.drift}
        self.last = observation
        new = [each for key, each in now.items() if before.get(key) != each]
        self.drifts += len(new)
        for each in new[:_TOLD]:
            log.warning("drift", where=each.where, path=each.path, committed=each.committed,
                        found=each.found)  # fmt: skip
        if len(new) > _TOLD:
            log.warning("drift", more=len(new) - _TOLD)
        if before and not now:
            log.info("drift has ended", files=len(before))


def _naps(record: SlotRecord) -> bool:
    return naps(record.files) > _NAP


def _refreshed(session: Session) -> str:
    """Ask the kdamonds; return the problem: their last numbers are better than none."""
    try:
        refresh(session, without=[s for s, each in session.managed.slots.items() if _naps(each)])
    except Busy as error:
        return str(error)
    return ""
