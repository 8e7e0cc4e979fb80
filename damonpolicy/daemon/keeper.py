"""What all jobs of a service share: the machine, what is in force there, and how to change it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.daemon.containment import contained
from damonpolicy.engine import session as engine
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import Session
from damonpolicy.engine.state_directory import Places
from damonpolicy.engine.store import Store
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.system import processes
from damonpolicy.kernel.system.host import look
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.bind import Finder
from damonpolicy.plan.ir import CompiledKdamond, CompiledPolicy
from damonpolicy.plan.plan import Plan
from damonpolicy.plan.state import Managed
from damonpolicy.policy.compile.loading import wanted

__all__ = ("Keeper",)

_JOINS = 0.25
"""Seconds after a commit in which another costs the kernel's goals nothing more.

Their shortest sensible window is longer; and without it, what is always late to the moment from
which on a commit may follow would never have its turn.
"""


class Keeper:
    """The keeper of a machine under the policies of some paths; every job has it.

    A job changes the machine by `bring` inside `changing`. Times are of the machine's clock.
    """

    def __init__(self, machine: Machine, places: Places, paths: Sequence[str]) -> None:
        self.machine = machine
        self.places = places
        self.paths = tuple(paths)
        self.owner = f"service:{','.join(paths)}"
        self.table = processes.Table(machine)
        self.capabilities: Capabilities | None = None
        """The features of the kernel, since the first reload."""
        self.rollbacks = 0
        """The number of transactions that failed and were undone, since the start."""
        self._store = Store(places)
        self._stamp: tuple[int, int] | None = None
        self._managed: Managed | None = None
        self._committed: dict[str, float] = {}
        self._lacking: dict[str, tuple[str, tuple[str, ...]]] = {}

    def managed(self) -> Managed:
        """Return the managed set of this machine, of all owners; it is read once it has changed."""
        try:
            status = self._store.places.state.stat()
            stamp = (status.st_ino, status.st_mtime_ns)
        except OSError:
            stamp = (0, 0)
        if self._managed is None or stamp != self._stamp:
            self._managed = self._store.managed(look(self.machine).boot_id)
            self._stamp = stamp
        return self._managed

    def policies(self) -> dict[str, CompiledPolicy]:
        """Return the service's own policies, by name."""
        policies = self.managed().policies
        return {name: each for name, each in policies.items() if each.owner == self.owner}

    def kdamonds(self) -> Iterator[CompiledKdamond]:
        """Yield the kdamonds of the service's own policies."""
        for policy in self.policies().values():
            yield from policy.kdamonds

    @property
    def watches(self) -> bool:
        """Whether any kdamond of the service monitors processes."""
        return any(each.ops != "paddr" for each in self.kdamonds())

    @contextmanager
    def changing(self, *, wait: bool = False, settle: bool = False) -> Iterator[Session]:
        """Hold the machine for a change; every error of the block is a DamonPolicyError."""
        try:
            with (
                contained(),
                engine.changing(self.machine, self.places, wait=wait, settle=settle) as session,
            ):
                yield session
        except DamonPolicyError as error:
            self.rollbacks += error.undone
            raise

    def bring(
        self,
        session: Session,
        policies: Mapping[str, CompiledPolicy],
        affected: Iterable[str],
        terms: Terms,
        find: Finder = processes.find,
    ) -> Plan | None:
        """Bring the machine under policies in one transaction; None if it is already.

        ``affected`` and ``find`` are those of `prepare`.
        """
        current, plan = prepare(
            self.machine, session.managed, policies, affected, find=find, waits=True
        )
        terms = replace(terms, capabilities=self.capabilities, interruptible=False)
        changed = session.carry_out(current, plan, terms)
        now = self.machine.monotonic()
        for each in plan.kdamonds:
            if each.action in ("start", "restart", "change"):
                self._committed[each.name] = now
        self._tell_lacking(plan)
        return plan if changed else None

    def leave(self) -> bool:
        """End all policies of the service and restore their settings; false if there were none."""
        reason = f"the service of {', '.join(self.paths)} ends"
        with self.changing(wait=True, settle=True) as session:
            policies = wanted(session.managed, {}, without=self.owner)
            changed = self.bring(session, policies, (), Terms(reason)) is not None
        log.info("removed", changed=changed)
        return changed

    def fed(self, kdamond: str) -> None:
        """Record that a kdamond (full name) took values of goals, unless that joined a commit."""
        now = self.machine.monotonic()
        if not self._joins(kdamond, now):
            self._committed[kdamond] = now

    def ready(self, kdamond: CompiledKdamond, now: float, *, joins: bool = False) -> float:
        """Return when an unrequested commit to a kdamond may follow; ``now``, not the past.

        With ``joins`` it may be right after another commit, too.
        """
        last = self._committed.get(kdamond.full_name)
        if last is None or (joins and self._joins(kdamond.full_name, now)):
            return now
        return max(last + kdamond.commit_every / 1e6, now)

    def _joins(self, kdamond: str, now: float) -> bool:
        return now - self._committed.get(kdamond, now - _JOINS) < _JOINS

    def _tell_lacking(self, plan: Plan) -> None:
        """Log what kdamonds lack for now: when it begins, and when it ends."""
        for each in plan.kdamonds:
            if each.name.partition("/")[0] not in plan.affected:
                continue
            before, now = self._lacking.get(each.name, ("", ())), (each.waits_for, each.left_out)
            self._lacking[each.name] = now
            if now == before:
                continue
            if each.waits_for:
                log.info("waits", kdamond=each.name, reason=f"for {each.waits_for}")
            elif each.left_out:
                log.warning("filters left out", kdamond=each.name, cgroups=list(each.left_out))
            elif each.runs:
                log.info("all is there", kdamond=each.name)
