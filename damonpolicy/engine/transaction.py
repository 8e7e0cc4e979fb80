"""A transaction: journal, operations, verification and commit point, or an undo.

docs/explanation/transactions.md describes the states of a transaction and what ends each: begun,
writing, committed, undoing, ended.
"""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from damonpolicy.base import log
from damonpolicy.base.errors import (
    DamonPolicyError,
    Foreign,
    Interrupted,
    KernelLacks,
    NoPermission,
    RolledBack,
    as_root,
    system_error,
)
from damonpolicy.base.lazy import dataclass
from damonpolicy.engine import journal as journals
from damonpolicy.engine.execute import OperationFailed
from damonpolicy.engine.finish import back
from damonpolicy.engine.forward import Forward, Spares
from damonpolicy.engine.journal import Before, Header, Unwritten
from damonpolicy.engine.signals import Signalled, Signals, taken
from damonpolicy.engine.store import Generation, Store
from damonpolicy.engine.verification import Unverified, verified
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.features import first_kernel, needed
from damonpolicy.kernel.damon.schema import pattern
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.plan import Plan
from damonpolicy.plan.state import Managed, Pending

__all__ = ("FeatureRefused", "Terms", "execute")


class FeatureRefused(KernelLacks):
    """The kernel turned out to lack a feature that could only be tried; nothing has changed.

    ``capabilities`` include that, and everything else that was visible while it was staged.
    """

    def __init__(self, capabilities: Capabilities, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.capabilities = capabilities


@dataclass(frozen=True, slots=True)
class Terms:
    """Why a plan is carried out, and how."""

    reason: str
    """It is kept with the generation."""
    capabilities: Capabilities | None = None
    confirm_within: float | None = None
    """Seconds."""
    guard: Callable[[int, float], None] | None = None
    """Called with the generation and the deadline before the first write."""
    instead_of: int = 0
    """The generation that this one undoes because nobody confirmed it."""
    interruptible: bool = True
    """Whether not to leave signals to the handlers that are there, such as a service's."""
    follows: bool = False
    """Whether it only follows the machine (a process that came or went): no generation of its own."""
    rescue: bool = False
    """Whether it goes on where generations cannot be written; and if it starts nothing, without a
    journal or a state file."""
    when_ready: Callable[[], None] = lambda: None
    """Called once only the writes are left: it may wait for their time, or raise a
    DamonPolicyError."""
    spares: Spares = lambda _: ()
    """Processes that may take the places of others that end meanwhile."""


def execute(
    machine: Machine,
    current: Current,
    plan: Plan,
    managed: Managed,
    store: Store,
    terms: Terms,
    remarks: list[str] | None = None,
) -> Managed:
    """Execute a plan, and return the managed set afterwards.

    ``remarks`` collects what a rescue did without.

    Raises RolledBack if it failed and was undone, RollbackIncomplete if the undo is incomplete,
    Interrupted if a signal arrived before the first write.
    """
    follows, rescue = terms.follows, terms.rescue
    number = managed.generation if follows else _next_number(store, managed, rescue=rescue)
    pending = _pending(machine, managed, terms)
    generation = Generation(
        number, time.time(), terms.reason, plan.release, plan.policies, pending is not None,
        terms.instead_of,
    )  # fmt: skip
    header = _header(current, plan, number, pending, managed)
    log.info("begin", generation=number, operations=len(plan.operations), reason=terms.reason)
    starts = any(each.after == "on" for each in plan.operations)
    own = OwnFiles(store, [] if remarks is None else remarks, rescue=rescue, starts=starts)
    committed = False
    try:
        if not follows:
            own.stage(generation)
        if terms.guard is not None and pending is not None:
            terms.guard(number, pending.deadline)
        forward = Forward(machine, current, plan, header, terms.spares)
        done = _Transaction(machine, own, forward, terms)
        with taken(interruptible=terms.interruptible) as signals:
            after = done.run(signals)
            committed = signals.committed = True
    finally:
        if not committed:
            log.info("not applied", generation=number)  # each `begin` has an end
            if not follows:
                store.unstage(number)
    own.finish(after, done.journal)
    log.info("applied", generation=number, operations=len(plan.operations))
    return after


def _pending(machine: Machine, managed: Managed, terms: Terms) -> Pending | None:
    """Return what is to be confirmed afterwards, and until when."""
    if terms.confirm_within is None:
        return managed.pending if terms.follows else None
    end = machine.monotonic() + terms.confirm_within
    return Pending(end, managed.generation, managed.policies)


def _next_number(store: Store, managed: Managed, *, rescue: bool) -> int:
    try:
        return store.next_number(managed)
    except DamonPolicyError:
        if not rescue:
            raise
        return managed.generation + 1


def _header(
    current: Current, plan: Plan, number: int, pending: Pending | None, managed: Managed
) -> Header:
    settings: dict[str, str] = {}
    for operation in plan.operations:
        if operation.kind == "setting":
            settings.setdefault(operation.path, operation.before)
    for each in plan.settings:
        if each.chosen:
            settings.setdefault(each.path, each.before)
    after = {each.slot: each.after for each in plan.kdamonds if each.slot >= 0}
    before = Before(current.tree, current.starts, settings)
    transaction = uuid.uuid4().hex
    return Header(
        transaction, plan.boot_id, number, before, plan.operations, after, managed, pending
    )


class OwnFiles:
    """The writer of generation, journal and state; ``remarks`` lists what a ``rescue`` did without.

    A rescue goes on without a generation, and without a journal or a state file unless it
    ``starts`` a kdamond: without a record, the next command would take the kdamond for someone
    else's.
    """

    def __init__(self, store: Store, remarks: list[str], *, rescue: bool, starts: bool) -> None:
        self.store = store
        self.remarks = remarks
        self.rescue = rescue
        self.needs_record = starts or not rescue

    def stage(self, generation: Generation) -> None:
        """Write the generation, which is not valid yet."""
        with self._or_without(f"generation {generation.number} is not kept", must=not self.rescue):
            self.store.stage(generation)

    @contextmanager
    def _or_without(self, otherwise: str, *, must: bool) -> Iterator[None]:
        """On failure of a block raise, or note what a rescue does without."""
        try:
            yield
        except (DamonPolicyError, OSError) as error:
            if must:
                raise
            self.remarks.append(f"{otherwise}: {error}")

    def journal(self, header: Header) -> Unwritten:
        """Begin the journal, with room for the state file that will follow."""
        otherwise = "no journal is kept, so run this again if it is killed"
        made = [Unwritten(header)]
        with self._or_without(otherwise, must=self.needs_record):
            self.store.reserve(header.managed)
            made.append(journals.begin(self.store.places.journal, header))
        return made[-1]

    def commit(self, after: Managed, journal: Unwritten | None) -> None:
        """Replace the state file: from here on, the change stays.

        A rescue may do without it, if nobody will resume its journal.
        """
        try:
            self._save(after)
        except (DamonPolicyError, OSError) as error:
            if self.needs_record or not (journal is None or journal.ended()):
                raise
            if not after.slots and not after.settings and self.store.forget():
                return  # nothing is managed any more, and no guard finds anything to roll back
            self.remarks.append(f"the state file still describes the earlier state: {error}")

    def _save(self, after: Managed) -> None:
        try:
            self.store.save(after)
        except (DamonPolicyError, OSError):
            if not self.rescue:
                raise
            self.store.save(after)  # the error may be temporary

    def finish(self, after: Managed, journal: Unwritten | None) -> None:
        """Do the steps after the commit point, where nothing can fail the change."""
        self.remarks += self.store.finish(after)
        if journal is not None:
            reason = journal.end()
            self.remarks += [f"the change is complete; {reason}"] if reason else []


class _Transaction:
    def __init__(self, machine: Machine, own: OwnFiles, forward: Forward, terms: Terms) -> None:
        self.machine = machine
        self.own = own
        self.forward = forward
        self.terms = terms
        self.journal: Unwritten | None = None

    def run(self, signals: Signals) -> Managed:
        """Run the transaction; any failure, including a defect of ours, ends in an undo."""
        try:
            if self.forward.plan.operations:
                self.forward.look_for_members()
                self.journal = self.own.journal(self.forward.header)
            self.terms.when_ready()
            signals.check()
            if self.journal is not None:
                self.forward.watch.unchanged()
                self.forward.perform_all(self.journal, signals)
            done = self.forward
            after = verified(self.machine, done.plan, done.header, done.watch)
            signals.check()
            signals.heeded = False
            self.own.commit(after, self.journal)
        except (OperationFailed, Unverified, Signalled, DamonPolicyError, OSError) as error:
            signals.heeded = False
            raise self._failed(error) from error
        except BaseException:
            signals.heeded = False
            self._back("a defect of damonpolicy")
            raise
        return after

    def _failed(self, error: BaseException) -> DamonPolicyError:
        """Undo, and return the error that describes the failure."""
        signalled = isinstance(error, Signalled)
        what = f"interrupted by {error}" if signalled else str(error)
        if not self.forward.writing:
            if self.journal is not None:
                self.journal.end()
            self.own.store.unreserve()
            if signalled:
                return Interrupted(f"{what} before anything was changed")
            if isinstance(error, DamonPolicyError):
                return error
            if isinstance(error, OSError):
                return system_error(error, "nothing was changed: ")
            return DamonPolicyError(f"nothing was changed: {what}")
        refused = self._refused(error)
        answer = self._undone(error, what, self._back(what), refused)
        answer.undone = True
        if isinstance(error, OperationFailed):
            answer.about = self.forward.plan.about(error.operation)
        elif isinstance(error, Unverified):
            answer.about = error.about
        return answer

    def _undone(
        self, error: BaseException, what: str, cost: str, refused: FeatureRefused | None
    ) -> DamonPolicyError:
        """Return the error for a failure that was completely undone."""
        if refused is not None:
            return refused
        if isinstance(error, OperationFailed):
            starting = error.operation.after == "on" or error.operation.starts_module
            if error.errno == errno.EBUSY and starting:
                message = f"{what}; everything is as it was"
                return Foreign(message, hint="`damonpolicy doctor` shows what else uses DAMON")
            if error.errno in (errno.EACCES, errno.EPERM):
                return NoPermission(f"{what}; everything is as it was", hint=as_root())
        return RolledBack(f"{what}; everything is as it was{cost}")

    def _back(self, what: str) -> str:
        """Undo; returns what that lost, for the user.

        Raises RollbackIncomplete if anything could not be restored; the journal stays then.
        """
        if self.journal is None:
            return ""
        log.warning("undo", transaction=self.forward.header.transaction, reason=what)
        remarks = back(self.machine, self.own.store, self.journal, because=f"{what}, and ")
        return f" ({'; '.join(remarks)})" if remarks else ""

    def _refused(self, error: BaseException) -> FeatureRefused | None:
        """Return whether the kernel refused a feature that could only be tried.

        This is called before the undo, while directories exist that show what else is missing; a
        feature that they show was not the refused one. A refused command does not point to a
        missing word: the kernel refuses what the files say.
        """
        capabilities = self.terms.capabilities
        if capabilities is None or not isinstance(error, OperationFailed):
            return None
        operation = error.operation
        if error.errno not in (errno.ENOENT, errno.EINVAL) or operation.kind == "command":
            return None
        learned = capabilities.learned(self.machine)
        for feature in needed(pattern(operation.relative), operation.after):
            tried = capabilities.known(feature.name) == "unknown"
            if tried and learned.known(feature.name) != "yes":
                message = f"this kernel lacks {feature.what}; everything is as it was"
                hint = first_kernel(feature.name)
                return FeatureRefused(learned.without(feature.name), message, hint)
        return None
