"""All or nothing: journal, operations, verification, commit point; or back to before."""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from damonpolicy import log
from damonpolicy.engine.execute import OperationFailed, alive, deadline, patience, perform
from damonpolicy.engine.journal import Before, Header, Journal
from damonpolicy.engine.signals import Signalled, Signals, taken
from damonpolicy.engine.store import Generation, Store
from damonpolicy.engine.undo import undo
from damonpolicy.engine.undone import put_right
from damonpolicy.errors import (
    Busy,
    DamonPolicyError,
    Foreign,
    Interrupted,
    KernelLacks,
    NoPermission,
    RollbackIncomplete,
    RolledBack,
)
from damonpolicy.kernel.capabilities import Capabilities
from damonpolicy.kernel.features import FEATURES, first_kernel, needed
from damonpolicy.kernel.host import starts
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.sysfs import Machine, read_or
from damonpolicy.kernel.tree import configuration, pattern, slot_tree, snapshot
from damonpolicy.plan.changes import differing
from damonpolicy.plan.current import Current
from damonpolicy.plan.managed import Managed, Pending, SettingRecord, SlotRecord
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


def execute(
    machine: Machine,
    current: Current,
    plan: Plan,
    managed: Managed,
    store: Store,
    *,
    reason: str,
    capabilities: Capabilities | None = None,
    confirm_within: float | None = None,
    guard: Callable[[int, float], None] | None = None,
    instead_of: int = 0,
    interruptible: bool = True,
    follows: bool = False,
    when_ready: Callable[[], None] = lambda: None,
) -> Managed:
    """Do what a plan says, and return what is managed then.

    ``reason`` is kept with the generation; ``confirm_within`` is in seconds. ``guard`` is
    called with the generation and the deadline before the first write. ``instead_of`` is the
    generation that this one undoes because nobody confirmed it. What is not ``interruptible``
    leaves signals to the handlers that are there, such as a service's. What only ``follows`` the
    machine (a process that came or went) is no generation of its own. ``when_ready`` is called
    once only the writes are left: it may wait for their time, or raise a DamonPolicyError.

    Raises RolledBack where something failed and all is as it was, RollbackIncomplete where
    it is not, Interrupted where a signal came before the first write.
    """
    number = managed.generation if follows else max([*store.numbers(), managed.generation]) + 1
    pending = managed.pending if follows else None
    if confirm_within is not None:
        pending = Pending(machine.monotonic() + confirm_within, managed.generation)
    generation = Generation(
        number, time.time(), reason, plan.release, plan.policies, pending is not None, instead_of
    )
    header = _header(current, plan, number, pending)
    log.info("begin", generation=number, operations=len(plan.operations), reason=reason)
    if not follows:
        store.write_generation(generation)
    try:
        if guard is not None and pending is not None:
            guard(number, pending.deadline)
        done = _Transaction(machine, current, plan, managed, store, header, pending)
        with taken(interruptible=interruptible) as signals:
            after = done.run(capabilities, signals, when_ready)
    except BaseException:
        if not follows:
            store.drop_generation(number)
        raise
    log.info("applied", generation=number, operations=len(plan.operations))
    return after


def finish(store: Store, managed: Managed) -> None:
    """Do what is left after the commit point."""
    if managed.pending is None:
        store.confirm(managed.generation)


def _header(current: Current, plan: Plan, number: int, pending: Pending | None) -> Header:
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
    return Header(transaction, plan.boot_id, number, before, plan.operations, after, pending)


class _Transaction:
    def __init__(
        self,
        machine: Machine,
        current: Current,
        plan: Plan,
        managed: Managed,
        store: Store,
        header: Header,
        pending: Pending | None,
    ) -> None:
        self.machine = machine
        self.current = current
        self.plan = plan
        self.managed = managed
        self.store = store
        self.header = header
        self.pending = pending
        self.journal: Journal | None = None
        self.intents: set[int] = set()
        self.writing = False
        self._waits: dict[int, float] = {}

    def run(
        self,
        capabilities: Capabilities | None,
        signals: Signals,
        when_ready: Callable[[], None],
    ) -> Managed:
        """Do it; whatever goes wrong, also a defect of ours, ends in an undo."""
        settled = False
        try:
            if self.plan.operations:
                self._look_for_members()
                self.journal = Journal(self.store.places.journal, self.header)
            when_ready()
            if self.journal is not None:
                for index, operation in enumerate(self.plan.operations):
                    self._perform(self.journal, index, operation)
            after = self._verified()
            signals.armed = False
            self.store.save(after)
            settled = True
        except (OperationFailed, _Unverified, Signalled, DamonPolicyError, OSError) as error:
            signals.armed = False
            settled = True
            raise self._failed(error, capabilities) from error
        finally:
            signals.armed = False
            if not settled:
                self._undo("a defect of damonpolicy")
        finish(self.store, after)
        if self.journal is not None:
            self.journal.remove()
        return after

    def _perform(self, journal: Journal, index: int, operation: Operation) -> None:
        if operation.kind == "command" and operation.after in ("on", "commit"):
            gone = self._gone(operation.slot, ended=True)
            if gone:  # the kernel would refuse, or (6.12) end the kdamond
                raise OperationFailed(operation, f"the process {gone} has ended")
        if operation.kind != "write":
            journal.intend(index)
            self.intents.add(index)
        self.writing = True
        seconds = self._patience(operation.slot)
        if operation.kind == "inputs":
            seconds = max(seconds, patience(self.machine, operation, self.header.operations))
        perform(self.machine, operation, seconds)
        if operation.kind == "command" and operation.after in ("on", "commit"):
            self._alive(operation)

    def _look_for_members(self) -> None:
        """Raise Busy where a process has ended since it was found: as long as that costs nothing."""
        commands = {each.slot for each in self.plan.operations if each.kind == "command"}
        for gone in filter(None, (self._gone(slot, ended=True) for slot in commands)):
            raise Busy(f"the process {gone} has ended meanwhile", hint="try again")

    def _gone(self, slot: int, *, ended: bool) -> int:
        """Return a process of a slot whose pid is another's by now; with ``ended`` also nobody's.

        The kernel looks pids up at each commit, and knows no start times.
        """
        known = (each.members for each in self.plan.kdamonds if each.slot == slot)
        for pid, start in next(known, ()):
            now = starts(self.machine, pid)
            if now != start and (now or ended):
                return pid
        return 0

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
        if operation.after == "commit" and pid != self.current.pid(slot):
            raise OperationFailed(operation, "another kdamond runs in this slot now")

    def _verified(self) -> Managed:
        """Read everything back; the result is what the state file will say."""
        tree = snapshot(self.machine) if self.plan.operations else self.current.tree
        slots: dict[int, SlotRecord] = {}
        for each in self.plan.kdamonds:
            if each.slot < 0 or f"{each.slot}/state" not in tree:
                continue
            now = slot_tree(tree, each.slot)
            if each.action != "keep":
                self._compare(each, now)
                gone = self._gone(each.slot, ended=False)
                if gone:
                    message = f"the process {gone} ended, and another one has its pid"
                    raise _Unverified(message)
            if each.runs:
                pid = int(now["pid"])
                slots[each.slot] = SlotRecord(
                    each.name,
                    configuration(now) if each.action != "keep" else each.after,
                    pid,
                    starts(self.machine, pid),
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

    def _compare(self, each: KdamondPlan, now: dict[str, str]) -> None:
        wrong = differing(now, each.after)
        if wrong:
            path = wrong[0]
            message = (
                f"`{each.slot}/{path}` reads `{now.get(path)}` and not `{each.after[path]}`"
                + (f" ({len(wrong) - 1} more files differ)" if len(wrong) > 1 else "")
            )
            raise _Unverified(message)
        on = now["state"] == "on"
        if on != each.runs:
            state = "on" if on else "off"
            raise _Unverified(f"the kdamond `{each.name}` is {state} after all")

    def _failed(self, error: BaseException, capabilities: Capabilities | None) -> DamonPolicyError:
        """Undo, and say what happened."""
        signalled = isinstance(error, Signalled)
        what = f"interrupted by {error}" if signalled else str(error)
        if not self.writing:
            if self.journal is not None:
                self.journal.remove()
            if signalled:
                return Interrupted(f"{what} before anything was changed")
            if isinstance(error, DamonPolicyError):
                return error
            return DamonPolicyError(f"nothing was changed: {what}")
        refused = self._refused(error, capabilities)
        answer = self._undone(error, what, self._undo(what), refused)
        answer.undone = True
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

    def _undo(self, what: str) -> str:
        """Undo; returns what it cost, for the user.

        Raises RollbackIncomplete where something could not be put back; the journal stays then.
        """
        if self.journal is None:
            return ""
        log.warning("undo", transaction=self.header.transaction, reason=what)
        undone = undo(self.machine, self.header, self.intents, self.managed)
        if undone.restarted:
            self.store.save(put_right(self.managed, undone))
        if undone.problems:
            self.journal.close()
            problems = "; ".join(undone.problems[:4])
            raise RollbackIncomplete(
                f"{what}, and not everything could be put back: {problems}",
                hint="look with `damonpolicy status`, then run `damonpolicy recover`",
            )
        self.journal.remove()
        return f" ({'; '.join(undone.remarks)})" if undone.remarks else ""

    def _refused(
        self, error: BaseException, capabilities: Capabilities | None
    ) -> FeatureRefused | None:
        """Tell whether the kernel refused something that could only be found out by trying.

        Asked before the undo, while directories are there that show what else is missing.
        """
        if capabilities is None or not isinstance(error, OperationFailed):
            return None
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            return None
        operation = error.operation
        where = pattern(operation.relative)
        for feature in needed(where, operation.after):
            if capabilities.known(feature.name) == "unknown":
                what = next(each.what for each in FEATURES if each.name == feature.name)
                message = f"this kernel lacks {what}; everything is as it was"
                learned = capabilities.learned(self.machine).without(feature.name)
                return FeatureRefused(learned, message, hint=first_kernel(feature.name))
        return None
