"""All or nothing: journal, operations, verification, commit point; or back to before.

The states of a transaction, and who leaves them how, are drawn in docs/explanation/transactions.md:
begun, writing, committed, undoing, ended.
"""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from damonpolicy import log
from damonpolicy.engine import journal as journals
from damonpolicy.engine.execute import OperationFailed, alive, deadline, patience, perform
from damonpolicy.engine.journal import Before, Header, Thread, Unwritten
from damonpolicy.engine.members import all_gone, dead, looks_pids_up, reused
from damonpolicy.engine.settle import back
from damonpolicy.engine.signals import Signalled, Signals, taken
from damonpolicy.engine.store import Generation, Store
from damonpolicy.engine.strangers import Known
from damonpolicy.errors import (
    Busy,
    DamonPolicyError,
    Foreign,
    Interrupted,
    KernelLacks,
    NoPermission,
    RolledBack,
)
from damonpolicy.kernel.capabilities import Capabilities
from damonpolicy.kernel.features import FEATURES, first_kernel, needed
from damonpolicy.kernel.host import starts
from damonpolicy.kernel.operation import Operation, kdamond_path
from damonpolicy.kernel.sysfs import KDAMONDS, Machine, read_or, read_value
from damonpolicy.kernel.tree import (
    Tree,
    configuration,
    empty_slot,
    pattern,
    slot_numbers,
    slot_tree,
    snapshot,
)
from damonpolicy.plan.bind import Member
from damonpolicy.plan.changes import differing
from damonpolicy.plan.current import Current
from damonpolicy.plan.managed import Managed, Pending, SettingRecord, SlotRecord
from damonpolicy.plan.mend import mend, staged
from damonpolicy.plan.order import KdamondPlan, Plan

__all__ = ("FeatureRefused", "execute")


class FeatureRefused(KernelLacks):
    """The kernel turned out to lack a feature that could only be tried; all is as it was.

    ``capabilities`` hold that, and whatever else could be seen while it was staged.
    """

    def __init__(self, capabilities: Capabilities, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.capabilities = capabilities


class _Unverified(Exception):
    """The kernel took everything and is not as it should be."""

    def __init__(self, message: str, kdamond: str, path: str = "") -> None:
        super().__init__(message)
        self.about = ((kdamond, path), (kdamond, ""))


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
) -> Managed:
    """Do what a plan says, and return what is managed then.

    ``reason`` is kept with the generation; ``confirm_within`` is in seconds. ``guard`` is
    called with the generation and the deadline before the first write. ``instead_of`` is the
    generation that this one undoes because nobody confirmed it. What is not ``interruptible``
    leaves signals to the handlers that are there, such as a service's. What only ``follows`` the
    machine (a process that came or went) is no generation of its own. ``when_ready`` is called
    once only the writes are left: it may wait for their time, or raise a DamonPolicyError.
    A ``rescue`` goes on where our own files cannot be written; ``remarks`` get what it did without.

    Raises RolledBack where something failed and all is as it was, RollbackIncomplete where
    it is not, Interrupted where a signal came before the first write.
    """
    remarks = [] if remarks is None else remarks
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
    own = _OwnFiles(store, remarks, rescue=rescue)
    committed = False
    try:
        if not follows:
            own.written(lambda: store.stage(generation), f"generation {number} is not kept")
        if guard is not None and pending is not None:
            guard(number, pending.deadline)
        done = _Transaction(machine, current, plan, managed, own, header, pending)
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


class _OwnFiles:
    """Our own files during one transaction; a rescue can do without them."""

    def __init__(self, store: Store, remarks: list[str], *, rescue: bool) -> None:
        self.store = store
        self.remarks = remarks
        self.rescue = rescue

    def written(self, write: Callable[[], None], otherwise: str) -> bool:
        """Write something; where it cannot be, raise, or say what a rescue does without."""
        try:
            write()
        except (DamonPolicyError, OSError) as error:
            if not self.rescue:
                raise
            self.remarks.append(f"{otherwise}: {error}")
            return False
        return True

    def journal(self, header: Header, managed: Managed) -> Unwritten:
        """Begin the journal, with room for the state file that will follow."""
        made: list[Unwritten] = []

        def begin() -> None:
            self.store.reserve(managed)
            made.append(journals.begin(self.store.places.journal, header))

        if self.written(begin, "no journal is kept, so run this again if it is killed"):
            return made[0]
        return Unwritten(header)

    def commit(self, after: Managed) -> None:
        """Replace the state file: all that was done stays from here on."""
        try:
            self.store.save(after)
        except (DamonPolicyError, OSError) as error:
            if self._arrived(after.transaction):
                return
            if not self.rescue:
                raise
            self.remarks.append(f"the state file still tells of before: {error}")

    def _arrived(self, transaction: str) -> bool:
        """Tell whether the state file was replaced, although an error was told."""
        try:
            return self.store.transaction() == transaction
        except DamonPolicyError:
            return False

    def finish(self, after: Managed, journal: Unwritten | None) -> None:
        """Do what is left behind the commit point, where nothing can fail the change."""
        self.remarks += self.store.finish(after)
        if journal is not None:
            reason = journal.end()
            self.remarks += [f"the change is complete; {reason}"] if reason else []


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
        own: _OwnFiles,
        header: Header,
        pending: Pending | None,
    ) -> None:
        self.machine = machine
        self.current = current
        self.plan = plan
        self.managed = managed
        self.own = own
        self.header = header
        self.pending = pending
        self.journal: Unwritten | None = None
        self.writing = False
        self.known = self._known()
        self.committed: dict[int, dict[str, str]] = {}
        """What the kernel took, by slot, where a commit of this transaction went well."""
        self.compared: set[int] = set()
        """Slots whose processes were found to be those that they were."""
        self.threads: dict[int, Thread] = {
            slot: (current.pid(slot), start) for slot, start in current.starts.items()
        }
        """The kdamonds that run by our knowledge, by slot."""
        self._waits: dict[int, float] = {}

    def _known(self) -> Known:
        header, managed = self.header, self.managed
        committed = {slot: record.files for slot, record in managed.slots.items()}
        return Known(header.before, header.after, header.operations, committed)

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
                self._look_again()
                self._perform_all(self.journal, signals)
            after = self._verified()
            signals.check()
            signals.heeded = False
            self.own.commit(after)
        except (OperationFailed, _Unverified, Signalled, DamonPolicyError, OSError) as error:
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
        if running:
            # the kernel would refuse, or (6.12) end the kdamond
            for gone in self._dead(operation.slot):
                raise OperationFailed(operation, f"the process {gone} has ended")
        if operation.kind == "count":
            self._look_before_wiping(operation)
        if operation.kind == "command" and operation.before == "on":
            self._look_at_thread(operation)
        if operation.kind != "write":
            journal.intend(index)
        self.writing = True
        seconds = self._patience(operation.slot)
        if operation.kind == "inputs":
            seconds = max(seconds, patience(self.machine, operation, self.header.operations))
        perform(self.machine, operation, seconds, check=signals.check)
        if running:
            self._alive(operation)
            journal.started(operation.slot, self.threads[operation.slot])
            done = self.header.operations[: index + 1]
            self.committed[operation.slot] = staged(self.current.tree, operation.slot, done)
        elif operation.kind == "command" and operation.after == "off":
            self.threads.pop(operation.slot, None)

    def _look_again(self) -> None:
        """Raise Foreign where someone has changed a slot since the plan was made.

        All slots count where their number is written, which wipes them.
        """
        touched = {each.slot for each in self.plan.operations}
        slots = self.current.slots if -1 in touched and self._recounts() else sorted(touched - {-1})
        now = snapshot(self.machine, slots=slots)
        if now.get("nr_kdamonds") != self.current.tree.get("nr_kdamonds"):
            raise _meanwhile("the number of slots was changed")
        for slot in slots:
            if slot not in self.current.slots:
                continue
            if self._thread(slot, now) != self.threads.get(slot) or differing(
                slot_tree(now, slot), configuration(self.current.slot(slot))
            ):
                raise _meanwhile(f"slot {slot} was changed")

    def _recounts(self) -> bool:
        return any(each.kind == "count" and each.slot < 0 for each in self.plan.operations)

    def _thread(self, slot: int, tree: Tree) -> Thread | None:
        """Return who runs in a slot, None while it is off."""
        if tree.get(f"{slot}/state") != "on":
            return None
        pid = int(tree.get(f"{slot}/pid", "-1"))
        return pid, starts(self.machine, pid)

    def _look_before_wiping(self, operation: Operation) -> None:
        """Raise OperationFailed where a count would wipe what someone else has written."""
        try:
            now = read_value(self.machine, operation.path)
        except FileNotFoundError:
            return  # there is nothing to wipe, and the write will tell
        except OSError as error:
            raise OperationFailed.by(operation, error) from error
        if now != operation.before:
            raise OperationFailed(operation, f"someone else has written `{now}`")
        if now == "0":
            return  # there is nothing to wipe
        every = slot_numbers(self.current.tree) if operation.slot < 0 else [operation.slot]
        tree = snapshot(self.machine, slots=every)
        for slot in every:
            own = slot_tree(tree, slot)
            if operation.slot < 0 and slot not in self.header.after and not empty_slot(own):
                raise OperationFailed(operation, f"someone else has configured slot {slot}")
            if self._thread(slot, tree) != self.threads.get(slot):
                raise OperationFailed(operation, f"someone else has started or stopped slot {slot}")
            strangers = self.known.strangers(slot, own)
            if strangers:
                what = f"someone else has changed `{slot}/{strangers[0]}`"
                raise OperationFailed(operation, what)

    def _look_at_thread(self, operation: Operation) -> None:
        """Raise OperationFailed where it is no longer the kdamond that we know that runs."""
        pid = int(read_value(self.machine, kdamond_path(operation.slot, "pid")) or "-1")
        if pid > 0 and (pid, starts(self.machine, pid)) != self.threads.get(operation.slot):
            raise OperationFailed(operation, "another kdamond runs in this slot now")

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
            running=running,
        )  # fmt: skip
        if mended is None:
            return False
        if not running:  # up to 6.12 a commit that fails ends the kdamond
            self.threads.pop(slot, None)
        others = (other for other in later if other.slot != slot)
        self.header = replace(
            self.header,
            operations=(*done, *mended.operations, *others),
            after={**self.header.after, slot: mended.plan.after},
        )
        journal.go_on(index + 1, self.header, slot)
        self.known = self._known()
        plans = tuple(mended.plan if known is each else known for known in self.plan.kdamonds)
        self.plan = replace(self.plan, kdamonds=plans)
        log.debug("ended meanwhile", kdamond=each.name, processes=sorted(gone))
        return True

    def _look_for_members(self) -> None:
        """Raise Busy where all processes of a kdamond have ended since they were found."""
        for slot in {each.slot for each in self.plan.operations if looks_pids_up(each)}:
            gone = all_gone(self.machine, self._members(slot))
            if gone:
                raise Busy(f"the process {gone} has ended meanwhile", hint="try again")

    def _members(self, slot: int) -> tuple[Member, ...]:
        return next((each.members for each in self.plan.kdamonds if each.slot == slot), ())

    def _dead(self, slot: int) -> set[int]:
        closely = slot not in self.compared
        self.compared.add(slot)
        return dead(self.machine, self._members(slot), closely=closely)

    def _patience(self, slot: int) -> float:
        """Return how many seconds a command may take, as the slot was or as it is to be."""
        if slot not in self._waits:  # the trees are large, and operations many
            after = {f"{slot}/{p}": v for p, v in self.header.after.get(slot, {}).items()}
            trees = (self.current.tree, after)
            self._waits[slot] = max(deadline(tree, slot) for tree in trees)
        return self._waits[slot]

    def _alive(self, operation: Operation) -> None:
        slot = operation.slot
        pid, reason = alive(self.machine, slot, self._patience(slot))
        if pid < 0:
            raise OperationFailed(
                operation, f"the kernel took it, but the kdamond is dead: {reason}"
            )
        thread = (pid, starts(self.machine, pid))
        if operation.after == "commit" and thread != self.threads.get(slot):
            raise OperationFailed(operation, "another kdamond runs in this slot now")
        self.threads[slot] = thread

    def _verified(self) -> Managed:
        """Read everything back; the result is what the state file will say."""
        tree = snapshot(self.machine) if self.plan.operations else self.current.tree
        self._compare_count(tree)
        slots: dict[int, SlotRecord] = {}
        for each in self.plan.kdamonds:
            if each.slot < 0 or (f"{each.slot}/state" not in tree and not each.runs):
                continue
            now = slot_tree(tree, each.slot)
            if each.action != "keep":
                self._compare(each, now)
            thread = self._thread(each.slot, tree)
            if thread != self.threads.get(each.slot):
                message = f"the kdamond `{each.name}` has ended, or another one runs in its slot"
                raise _Unverified(message, each.name)
            if each.action == "keep":
                record = self.managed.slots[each.slot]
                slots[each.slot] = replace(record, names=each.names, members=each.members)
                continue
            gone = reused(self.machine, each.members)
            if gone:
                message = f"the process {gone} ended, and another one has its pid"
                raise _Unverified(message, each.name)
            if each.runs:
                pid, start = thread or (-1, 0)
                slots[each.slot] = SlotRecord(
                    each.name,
                    configuration(now),
                    pid,
                    start,
                    each.members,
                    each.names,
                    each.cgroups,
                )
        settings = {
            each.path: SettingRecord(
                each.original,
                read_or(self.machine, each.path) if each.chosen else each.after,
                each.users,
                each.chosen,
            )
            for each in self.plan.settings
            if each.users or each.owed
        }
        return replace(
            self.managed,
            boot_id=self.plan.boot_id,
            transaction=self.header.transaction,
            generation=self.header.generation,
            policies=self.plan.policies,
            slots=slots,
            settings=settings,
            slots_before=self.plan.slots_before,
            pending=self.pending,
        )

    def _compare_count(self, tree: Tree) -> None:
        """Raise _Unverified where there are not as many slots as there shall be."""
        path = f"{KDAMONDS}/nr_kdamonds"
        counts = [each.after for each in self.header.operations if each.path == path]
        wanted = counts[-1] if counts else self.current.tree.get("nr_kdamonds")
        if tree.get("nr_kdamonds") != wanted:
            raise _Unverified(f"there are {tree.get('nr_kdamonds')} slots and not {wanted}", "")

    def _compare(self, each: KdamondPlan, now: dict[str, str]) -> None:
        wrong = differing(now, each.after)
        if wrong:
            path = wrong[0]
            message = (
                f"`{each.slot}/{path}` reads `{now.get(path)}` and not `{each.after[path]}`"
                + (f" ({len(wrong) - 1} more files differ)" if len(wrong) > 1 else "")
            )
            raise _Unverified(message, each.name, path)
        on = now["state"] == "on"
        if on != each.runs:
            state = "on" if on else "off"
            raise _Unverified(f"the kdamond `{each.name}` is {state} after all", each.name)

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
            return DamonPolicyError(f"nothing was changed: {what}")
        refused = self._refused(error, capabilities)
        answer = self._undone(error, what, self._back(what), refused)
        answer.undone = True
        if isinstance(error, OperationFailed):
            answer.about = self.plan.about(error.operation)
        elif isinstance(error, _Unverified):
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


def _meanwhile(what: str) -> Foreign:
    return Foreign(
        f"{what} by someone else meanwhile", hint="look with `damonpolicy status`, then try again"
    )
