"""All or nothing: journal, operations, verification, commit point; or back to before.

The states of a transaction, and who leaves them how, are drawn in docs/explanation/transactions.md:
begun, writing, committed, undoing, ended.
"""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from damonpolicy import log
from damonpolicy.engine.execute import OperationFailed, deadline, patience, perform
from damonpolicy.engine.journal import Before, Header, Unwritten
from damonpolicy.engine.members import all_gone, dead, looks_pids_up
from damonpolicy.engine.own_files import OwnFiles
from damonpolicy.engine.settle import back
from damonpolicy.engine.signals import Signalled, Signals, taken
from damonpolicy.engine.store import Generation, Store
from damonpolicy.engine.verification import Unverified, Verification, read_back
from damonpolicy.engine.watch import Watch
from damonpolicy.errors import (
    Busy,
    DamonPolicyError,
    Foreign,
    Interrupted,
    KernelLacks,
    NoPermission,
    RolledBack,
    system_error,
)
from damonpolicy.kernel.capabilities import Capabilities
from damonpolicy.kernel.features import FEATURES, first_kernel, needed
from damonpolicy.kernel.host import starts
from damonpolicy.kernel.operation import Operation, kdamond_path
from damonpolicy.kernel.sysfs import Machine, read_value
from damonpolicy.kernel.tree import (
    pattern,
    slot_tree,
)
from damonpolicy.plan.bind import Member
from damonpolicy.plan.current import Current
from damonpolicy.plan.managed import Managed, Pending
from damonpolicy.plan.mend import mend, staged
from damonpolicy.plan.order import KdamondPlan, Plan

__all__ = ("FeatureRefused", "execute")

_Spares: TypeAlias = Callable[[str], Iterable[Member]]
"""Returns for a kdamond's name who could be monitored by it, too."""


class FeatureRefused(KernelLacks):
    """The kernel turned out to lack a feature that could only be tried; all is as it was.

    ``capabilities`` hold that, and whatever else could be seen while it was staged.
    """

    def __init__(self, capabilities: Capabilities, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.capabilities = capabilities


def execute(
    machine: Machine,
    current: Current,
    plan: Plan,
    managed: Managed,
    store: Store,
    *,
    reason: str,
    remarks: list[str] | None = None,
    capabilities: Capabilities | None = None,
    confirm_within: float | None = None,
    guard: Callable[[int, float], None] | None = None,
    instead_of: int = 0,
    interruptible: bool = True,
    follows: bool = False,
    rescue: bool = False,
    when_ready: Callable[[], None] = lambda: None,
    spares: _Spares = lambda _: (),
) -> Managed:
    """Do what a plan says, and return what is managed then.

    ``reason`` is kept with the generation; ``confirm_within`` is in seconds. ``guard`` is
    called with the generation and the deadline before the first write. ``instead_of`` is the
    generation that this one undoes because nobody confirmed it. What is not ``interruptible``
    leaves signals to the handlers that are there, such as a service's. What only ``follows`` the
    machine (a process that came or went) is no generation of its own. ``when_ready`` is called
    once only the writes are left: it may wait for their time, or raise a DamonPolicyError.
    ``spares`` are processes that may take the places of others that end meanwhile.
    A ``rescue`` that starts nothing goes on where our own files cannot be written; ``remarks`` get
    what it did without.

    Raises RolledBack where something failed and all is as it was, RollbackIncomplete where
    it is not, Interrupted where a signal came before the first write.
    """
    remarks = [] if remarks is None else remarks
    # What starts has to be on record, or it would be someone else's to whoever comes next.
    rescue = rescue and not any(each.after == "on" for each in plan.operations)
    number = managed.generation if follows else _next_number(store, managed, rescue=rescue)
    pending = managed.pending if follows else None
    if confirm_within is not None:
        end = machine.monotonic() + confirm_within
        pending = Pending(end, managed.generation, managed.policies)
    generation = Generation(
        number, time.time(), reason, plan.release, plan.policies, pending is not None, instead_of
    )
    header = _header(current, plan, number, pending, managed)
    log.info("begin", generation=number, operations=len(plan.operations), reason=reason)
    own = OwnFiles(store, remarks, rescue=rescue)
    committed = False
    try:
        if not follows:
            own.written(lambda: store.stage(generation), f"generation {number} is not kept")
        if guard is not None and pending is not None:
            guard(number, pending.deadline)
        done = _Transaction(machine, current, plan, managed, own, header, pending, spares)
        with taken(interruptible=interruptible) as signals:
            after = done.run(capabilities, signals, when_ready)
            committed = signals.committed = True
    finally:
        if not committed and not follows:
            store.unstage(number)
    own.finish(after, done.journal)
    log.info("applied", generation=number, operations=len(plan.operations))
    return after


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


class _Transaction:
    def __init__(
        self,
        machine: Machine,
        current: Current,
        plan: Plan,
        managed: Managed,
        own: OwnFiles,
        header: Header,
        pending: Pending | None,
        spares: _Spares,
    ) -> None:
        self.machine = machine
        self.current = current
        self.plan = plan
        self.managed = managed
        self.own = own
        self.header = header
        self.pending = pending
        self.spares = spares
        self.journal: Unwritten | None = None
        self.writing = False
        self.watch = Watch(machine, current, header)
        self.committed: dict[int, dict[str, str]] = {}
        """What the kernel took, by slot, where a commit of this transaction went well."""
        self._waits: dict[int, float] = {}
        self._read: dict[int, int] = {}
        """How many of the operations have been read back, by slot."""

    def run(
        self,
        capabilities: Capabilities | None,
        signals: Signals,
        when_ready: Callable[[], None],
    ) -> Managed:
        """Do it; whatever goes wrong, also a defect of ours, ends in an undo."""
        try:
            if self.plan.operations:
                self._look_for_members()
                self.journal = self.own.journal(self.header, self.managed)
            when_ready()
            signals.check()
            if self.journal is not None:
                self.watch.unchanged()
                self._perform_all(self.journal, signals)
            after = Verification(self.machine, self.plan, self.header, self.watch).verified()
            signals.check()
            signals.heeded = False
            self.own.commit(after, self.journal)
        except (OperationFailed, Unverified, Signalled, DamonPolicyError, OSError) as error:
            signals.heeded = False
            raise self._failed(error, capabilities) from error
        except BaseException:
            signals.heeded = False
            self._back("a defect of damonpolicy")
            raise
        return after

    def _perform_all(self, journal: Unwritten, signals: Signals) -> None:
        """Do all operations; who ends meanwhile is left out, and the rest is committed at once."""
        index = 0
        while index < len(self.header.operations):
            signals.check()
            operation = self.header.operations[index]
            try:
                self._perform(journal, index, operation, signals)
            except OperationFailed:
                if not self._mend(journal, index, operation):
                    raise
            index += 1

    def _perform(
        self, journal: Unwritten, index: int, operation: Operation, signals: Signals
    ) -> None:
        running = looks_pids_up(operation)
        if operation.kind == "count":
            self.watch.before_wiping(operation)
        if operation.kind == "command" and operation.before == "on":
            self.watch.same_thread(operation)
        if running:
            self._read_back(operation.slot, index)
            # the kernel would refuse, or (6.12) end the kdamond; others may end while we look
            for gone in self._dead(operation.slot):
                raise OperationFailed(operation, f"the process {gone} has ended")
        if operation.kind != "write":
            journal.intend(index)
        self.writing = True
        seconds = self._patience(operation.slot)
        if operation.kind == "inputs":
            seconds = max(seconds, patience(self.machine, operation, self.header.operations))
        perform(self.machine, operation, seconds, check=signals.check)
        if running:
            self.watch.alive(operation, seconds)
            journal.started(operation.slot, self.watch.threads[operation.slot])
            done = self.header.operations[: index + 1]
            self.committed[operation.slot] = staged(self.current.tree, operation.slot, done)
        elif operation.kind == "command" and operation.after == "off":
            self.watch.threads.pop(operation.slot, None)

    def _read_back(self, slot: int, index: int) -> None:
        """Raise Unverified where what was written since the last time does not read back."""
        done = self.header.operations[:index]
        name = next((each.name for each in self.plan.kdamonds if each.slot == slot), "")
        fresh = done[self._read.get(slot, 0) :]
        read_back(self.machine, slot, name, staged(self.current.tree, slot, done), fresh)
        self._read[slot] = index

    def _mend(self, journal: Unwritten, index: int, operation: Operation) -> bool:
        """Go on without those by whose end an operation failed; tell whether it was by that."""
        slot = operation.slot
        gone = self._dead(slot) if looks_pids_up(operation) else set()
        each = next((each for each in self.plan.kdamonds if each.slot == slot), None)
        if not gone or each is None:
            return False
        done, later = self.header.operations[: index + 1], self.header.operations[index + 1 :]
        tree = self.current.tree
        running = read_value(self.machine, kdamond_path(slot, "state")) == "on"
        mended = mend(
            each, gone, staged(tree, slot, done), self.committed.get(slot, slot_tree(tree, slot)),
            running=running, spares=self._spares(each),
        )  # fmt: skip
        if mended is None:
            return False
        if not running:  # up to 6.12 a commit that fails ends the kdamond
            self.watch.threads.pop(slot, None)
        others = (other for other in later if other.slot != slot)
        self.header = replace(
            self.header,
            operations=(*done, *mended.operations, *others),
            after={**self.header.after, slot: mended.plan.after},
        )
        journal.go_on(index + 1, self.header, slot)
        self.watch.follow(self.header)
        plans = tuple(mended.plan if known is each else known for known in self.plan.kdamonds)
        self.plan = replace(self.plan, kdamonds=plans)
        log.debug("ended meanwhile", kdamond=each.name, processes=sorted(gone))
        return True

    def _spares(self, each: KdamondPlan) -> Iterator[Member]:
        """Return the living that are not monitored yet, as they are asked for."""
        for pid, start in self.spares(each.name):
            if (pid, start) not in each.members and starts(self.machine, pid) == start:
                yield pid, start

    def _look_for_members(self) -> None:
        """Raise Busy where all processes of a kdamond have ended since they were found."""
        for slot in {each.slot for each in self.plan.operations if looks_pids_up(each)}:
            gone = all_gone(self.machine, self._members(slot))
            if gone:
                raise Busy(f"the process {gone} has ended meanwhile", hint="try again")

    def _members(self, slot: int) -> tuple[Member, ...]:
        return next((each.members for each in self.plan.kdamonds if each.slot == slot), ())

    def _dead(self, slot: int) -> set[int]:
        return dead(self.machine, self._members(slot))

    def _patience(self, slot: int) -> float:
        """Return how many seconds a command may take, as the slot was or as it is to be."""
        if slot not in self._waits:  # the trees are large, and operations many
            after = {f"{slot}/{p}": v for p, v in self.header.after.get(slot, {}).items()}
            trees = (self.current.tree, after)
            self._waits[slot] = max(deadline(tree, slot) for tree in trees)
        return self._waits[slot]

    def _failed(self, error: BaseException, capabilities: Capabilities | None) -> DamonPolicyError:
        """Undo, and say what happened."""
        signalled = isinstance(error, Signalled)
        what = f"interrupted by {error}" if signalled else str(error)
        if not self.writing:
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
        refused = self._refused(error, capabilities)
        answer = self._undone(error, what, self._back(what), refused)
        answer.undone = True
        if isinstance(error, OperationFailed):
            answer.about = self.plan.about(error.operation)
        elif isinstance(error, Unverified):
            answer.about = error.about
        return answer

    def _undone(
        self, error: BaseException, what: str, cost: str, refused: FeatureRefused | None
    ) -> DamonPolicyError:
        """Say what has failed, once everything is as it was."""
        if refused is not None:
            return refused
        if isinstance(error, OperationFailed):
            starting = error.operation.after == "on" or error.operation.starts_module
            if error.errno == errno.EBUSY and starting:
                message = f"{what}; everything is as it was"
                return Foreign(message, hint="`damonpolicy doctor` tells what else uses DAMON")
            if error.errno in (errno.EACCES, errno.EPERM):
                return NoPermission(f"{what}; everything is as it was", hint="run as root")
        return RolledBack(f"{what}; everything is as it was{cost}")

    def _back(self, what: str) -> str:
        """Undo; returns what it cost, for the user.

        Raises RollbackIncomplete where something could not be put back; the journal stays then.
        """
        if self.journal is None:
            return ""
        log.warning("undo", transaction=self.header.transaction, reason=what)
        remarks = back(self.machine, self.own.store, self.journal, because=f"{what}, and ")
        return f" ({'; '.join(remarks)})" if remarks else ""

    def _refused(
        self, error: BaseException, capabilities: Capabilities | None
    ) -> FeatureRefused | None:
        """Tell whether the kernel refused something that could only be found out by trying.

        Asked before the undo, while directories are there that show what else is missing; what
        they show to be there is not what was refused. A refused command tells of no missing word:
        it is what the files say that the kernel does not take.
        """
        if capabilities is None or not isinstance(error, OperationFailed):
            return None
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            return None
        operation = error.operation
        if operation.kind == "command":
            return None
        learned = capabilities.learned(self.machine)
        for feature in needed(pattern(operation.relative), operation.after):
            tried = capabilities.known(feature.name) == "unknown"
            if tried and learned.known(feature.name) != "yes":
                what = next(each.what for each in FEATURES if each.name == feature.name)
                message = f"this kernel lacks {what}; everything is as it was"
                hint = first_kernel(feature.name)
                return FeatureRefused(learned.without(feature.name), message, hint)
        return None
