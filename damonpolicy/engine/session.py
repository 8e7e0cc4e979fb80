"""The start of every changing command: lock, recover, handle an unconfirmed change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace

from damonpolicy.base.errors import (
    Busy,
    DamonPolicyError,
    Interrupted,
    NoPermission,
    RollbackIncomplete,
    RolledBack,
    UsageError,
)
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.trust import guarded, root_and_we, why_untrusted
from damonpolicy.engine import journal
from damonpolicy.engine.execute import OperationFailed, alive, ask, deadline
from damonpolicy.engine.finish import settle as settle_journal
from damonpolicy.engine.lock import exclusive
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.signals import waiting
from damonpolicy.engine.state_directory import Places
from damonpolicy.engine.store import Store
from damonpolicy.engine.transaction import Terms, execute
from damonpolicy.kernel.damon.tree import kdamond_path
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.system.host import Host, look, starts
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.plan import Plan
from damonpolicy.plan.state import Managed, SlotRecord

__all__ = ("Session", "changing", "looking", "refresh")

_EFFECTIVE = Kdamond().schemes[0].quota.effective_bytes.path
"""The file that exists if there is a scheme, and the kernel shows its effective quota."""


@dataclass
class Session:
    """A machine that we may change until the lock is released."""

    machine: Machine
    store: Store
    managed: Managed
    remarks: list[str] = field(default_factory=list)
    expired: bool = False
    """Whether an unconfirmed change was rolled back just now."""

    def roll_back(self, number: int, terms: Terms, *, waits: bool = False) -> tuple[Plan, bool]:
        """Go to a generation; returns the plan, and whether it changed anything.

        A generation is compiled, so this needs no policy language. With ``waits``, kdamonds wait
        for what they lack.
        """
        policies = self.policies_of(number)
        current, plan = prepare(self.machine, self.managed, policies, policies, waits=waits)
        return plan, self.carry_out(current, plan, replace(terms, rescue=True))

    def policies_of(self, number: int) -> Mapping[str, CompiledPolicy]:
        """Return the policies of a generation."""
        pending = self.managed.pending
        if pending is not None and number == pending.previous:  # the state file holds those, too
            return pending.policies
        return self.store.generation(number).policies

    def awaits(self, number: int) -> bool:
        """Return whether a generation was to be confirmed and never was."""
        pending = self.managed.pending
        if pending is not None and number == pending.previous:
            return False
        return self.store.generation(number).awaits

    def carry_out(self, current: Current, plan: Plan, terms: Terms) -> bool:
        """Execute a plan, unless it is empty."""
        if not plan.changes(self.managed):
            return False
        self.managed = execute(
            self.machine, current, plan, self.managed, self.store, terms, self.remarks
        )
        return True

    def stop_all(self) -> tuple[Plan, bool]:
        """Stop every kdamond of ours and restore all settings."""
        current, plan = prepare(self.machine, self.managed, {}, ())
        return plan, self.carry_out(current, plan, Terms("stop --all", rescue=True))

    def previous(self) -> int:
        """Return the generation to roll back to: the last other one that was kept, 0 for none.

        Generations that were left unconfirmed do not count: they may have cut someone off.
        """
        managed = self.managed
        if managed.pending is not None:
            return managed.pending.previous
        if managed.generation == 0:
            raise UsageError("nothing was applied on this boot", hint="name a generation")
        for number in reversed(self.store.numbers()):
            if number < managed.generation:
                generation = self.store.generation(number)
                if not generation.awaits and generation.policies != managed.policies:
                    return number
        return 0

    def confirm(self) -> int:
        """Make the pending change stay; returns its generation."""
        if self.managed.pending is None:
            if lost := self._instead_of():
                message = f"generation {lost} was not confirmed in time, and is undone"
                raise RolledBack(message, hint="apply it again, and confirm in time")
            message = "nothing waits to be confirmed"
            raise UsageError(message, hint="`apply --confirm-within 60s` makes a change wait")
        managed = replace(self.managed, pending=None)
        # otherwise a command that reports no change would leave the change in force
        with waiting() as signals:
            # In this order: killed in between, it still waits, and comes back at boot all the same.
            self.remarks += self.store.finish(managed)
            self.store.save(managed)
            signals.committed = True
        self.managed = managed
        return self.managed.generation

    def _instead_of(self) -> int:
        """Return the unconfirmed generation that the current one undoes."""
        try:
            return self.store.generation(self.managed.generation).instead_of
        except DamonPolicyError:  # it can no longer be known
            return 0

    def expire(self) -> None:
        """Roll back a change whose deadline has passed."""
        pending = self.managed.pending
        if pending is None or self.machine.monotonic() < pending.deadline:
            return
        generation = self.managed.generation
        terms = Terms(f"generation {generation} was not confirmed", instead_of=generation)
        # processes or cgroups that are gone must not make the change stay
        self.roll_back(pending.previous, terms, waits=True)
        self.expired = True
        self.remarks.append(
            f"generation {generation} was not confirmed in time: back to {pending.previous}"
        )


def refresh(session: Session, *, only: int | None = None, without: Collection[int] = ()) -> None:
    """Ask every running kdamond of ours for its statistics and the quotas in effect.

    Or ``only`` that of one slot; those in the slots ``without`` are not asked. Raises Busy if one
    does not answer, after all others were asked.
    """
    silent = {
        slot: reason
        for slot, record in session.managed.slots.items()
        if only in (None, slot)
        and slot not in without
        and _runs(session.machine, slot, record)
        and (reason := _ask(session.machine, slot, record))
    }
    for slot, reason in silent.items():
        raise Busy(f"the kdamond of slot {slot} does not answer: {reason}")


def _runs(machine: Machine, slot: int, record: SlotRecord) -> bool:
    """Return whether the kdamond that runs in a slot is still ours."""
    pid = read_or(machine, kdamond_path(slot, Kdamond().pid.path))
    state = read_or(machine, kdamond_path(slot, Kdamond().state.path))
    same = pid == str(record.pid) and starts(machine, record.pid) == record.start
    return state == "on" and same


def _ask(machine: Machine, slot: int, record: SlotRecord) -> str:
    """Ask one kdamond; return why there is no answer."""
    _, reason = alive(machine, slot, deadline(record.files))
    if reason or not machine.exists(kdamond_path(slot, _EFFECTIVE)):
        return reason
    try:
        ask(machine, slot, "update_schemes_effective_quotas", record.files)
    except OperationFailed as error:
        return error.reason
    return ""


@contextmanager
def changing(
    machine: Machine,
    places: Places,
    *,
    wait: bool = False,
    settle: bool = False,
    overwrite: bool = False,
) -> Iterator[Session]:
    """Hold the machine; with ``settle`` also while a change waits for its confirmation.

    With ``overwrite``, the undo of an interrupted transaction overwrites others' writes.

    Raises LockHeld, NoPermission outside the machine's own namespaces, and Busy while a change is
    unconfirmed.
    """
    if not machine.writable:
        raise UsageError("`--root` is for reading only", hint="leave `--root` out to change things")
    host = look(machine)
    _refuse_elsewhere(machine, host, places)
    with exclusive(places.lock, wait=wait):
        store = Store(places)
        remarks = _settled(machine, store, overwrite=overwrite)
        first = tuple(remarks)
        session = Session(machine, store, store.managed(host.boot_id), remarks)
        try:
            session.expire()
        except DamonPolicyError as error:
            if not settle or isinstance(error, RollbackIncomplete):
                raise  # the journal of the latter has to be ended first
            # it must not hold up a command that stops everything or rolls back
            remarks.append(f"the unconfirmed change could not be rolled back: {error}")
        remarks += store.mended(session.managed)
        remarks += store.finish(session.managed)
        if session.managed.pending is not None and not settle:
            left = session.managed.pending.deadline - machine.monotonic()
            message = (
                f"generation {session.managed.generation} waits to be confirmed"
                f" for another {left:.0f} s"
            )
            raise Busy(
                message, hint="`damonpolicy confirm` keeps it, `damonpolicy rollback` ends it"
            )
        try:
            yield session
        except DamonPolicyError as error:
            # the earlier change was ended, whatever the result of this one
            if first and error.message:
                error.message = f"{error.message}; before that, {'; '.join(first)}"
            raise


def _refuse_elsewhere(machine: Machine, host: Host, places: Places) -> None:
    """Raise where pids or cgroups would be others', or what we keep could be."""
    if host.namespaces:
        kinds = " and ".join(host.namespaces)
        message = (
            f"this is not the machine's own {kinds} namespace, so pids or cgroups would be wrong"
        )
        raise NoPermission(
            message, hint="run on the host: `nsenter --target 1 --all damonpolicy …`"
        )
    if guarded(machine.name):
        distrusted = why_untrusted(places.run, root_and_we())
        if distrusted is not None:
            raise distrusted


def _settled(machine: Machine, store: Store, *, overwrite: bool) -> list[str]:
    """End an interrupted transaction; raises Interrupted where a signal came meanwhile."""
    with waiting() as signals:
        remarks = settle_journal(machine, store, overwrite=overwrite)
    if signals.came:
        done = "before anything was changed"
        if remarks:
            done = f"when an earlier transaction had been ended: {remarks[0]}"
        raise Interrupted(f"interrupted by {signals.came} {done}")
    return remarks


def _interrupted(places: Places) -> bool:
    """Return whether a journal has to be ended; an unreadable one does."""
    try:
        return journal.read(places.journal) is not None
    except DamonPolicyError:
        return True


@contextmanager
def looking(machine: Machine, places: Places, *, wait: bool = False) -> Iterator[Session]:
    """Lock the machine for reading: nothing is recovered, rolled back or changed.

    Raises LockHeld, and Busy if a change has to be ended first.
    """
    if not machine.writable:
        hint = "a copy answers nothing: leave `--root` out to ask kdamonds"
        raise UsageError("`--root` is for reading only", hint=hint)
    hint = "`damonpolicy recover` ends it"
    with exclusive(places.lock, wait=wait):
        if _interrupted(places):
            raise Busy("a transaction was interrupted", hint=hint)
        store = Store(places)
        session = Session(machine, store, store.managed(look(machine).boot_id))
        if session.managed.overdue(machine.monotonic()):
            message = f"generation {session.managed.generation} was not confirmed in time"
            raise Busy(message, hint=hint)
        yield session
