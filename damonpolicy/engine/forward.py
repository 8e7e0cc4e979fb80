"""Execution of a transaction's operations in order, each after a check.

If processes end meanwhile, a new plan leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from damonpolicy.base import log
from damonpolicy.base.errors import Busy
from damonpolicy.engine.execute import OperationFailed, patience, perform
from damonpolicy.engine.journal import Header, Unwritten
from damonpolicy.engine.signals import Signals
from damonpolicy.engine.verification import all_gone, dead, looks_pids_up, read_back
from damonpolicy.engine.watch import Watch
from damonpolicy.kernel.damon.tree import Tree, fed, kdamond_path, slot_tree
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import Machine, read_value
from damonpolicy.plan.diff import changes
from damonpolicy.plan.ir import Member, by_name
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.plan import KdamondPlan, Plan
from damonpolicy.plan.replan import Halfway, mend, staged

__all__ = ("Forward", "Spares")

Spares: TypeAlias = Callable[[str], Iterable[Member]]
"""A function from a kdamond's name to further processes that it could monitor."""


class Forward:
    """The progress of the operations; ``plan`` and ``header`` are the current ones."""

    def __init__(
        self, machine: Machine, current: Current, plan: Plan, header: Header, spares: Spares
    ) -> None:
        self.machine = machine
        self.current = current
        self.plan = plan
        self.header = header
        self.watch = Watch(machine, current, header)
        self.writing = False
        """Whether anything may have been written."""
        self._spares_of = spares
        self._committed: dict[int, dict[str, str]] = {}
        """What the kernel took, by slot, after successful commits of this transaction."""
        self._mended: set[int] = set()
        """The slots whose plan was replaced, until the new one is done."""
        self._waits: dict[int, float] = {}
        self._turn = 0
        """The number of the operation whose turn it is."""
        self._read: dict[int, int] = {}
        """The number of operations that were read back, by slot."""

    def look_for_members(self) -> None:
        """Raise Busy if all processes of a kdamond have ended since they were found."""
        for slot in {each.slot for each in self.plan.operations if looks_pids_up(each)}:
            if gone := all_gone(self.machine, self._members(slot)):
                raise Busy(f"the process {gone} has ended meanwhile", hint="try again")

    def perform_all(self, journal: Unwritten, signals: Signals) -> None:
        """Execute all operations; processes that end meanwhile are left out of the commit."""
        while self._turn < len(self.header.operations):
            signals.check()
            operation = self.header.operations[self._turn]
            try:
                self._perform(operation, journal, signals)
            except OperationFailed as error:
                gone = error.gone or self._ended(operation)
                if not gone or not self._mend(operation.slot, gone, journal):
                    raise
            else:
                self._tidy(operation.slot, journal)
            self._turn += 1

    @property
    def _done(self) -> tuple[Operation, ...]:
        """The operations up to that one."""
        return self.header.operations[: self._turn + 1]

    def _perform(self, operation: Operation, journal: Unwritten, signals: Signals) -> None:
        running = looks_pids_up(operation)
        if operation.kind == "count":
            self.watch.before_wiping(operation)
        if operation.kind == "command" and operation.before == "on":
            self.watch.same_thread(operation)
        if running:
            self._read_back(operation.slot)
            # the kernel would refuse, or (6.12) end the kdamond; others may end while we look
            if gone := self._ended(operation):
                failure = OperationFailed(operation, f"the process {min(gone)} has ended")
                failure.gone = gone
                raise failure
        if operation.kind != "write":
            journal.note({"intent": self._turn})
        self.writing = True
        seconds = self._patience(operation)
        perform(self.machine, operation, seconds, check=signals.check)
        if running:
            self.watch.alive(operation, seconds)
            if operation.after == "on":  # a kdamond that took a commit ran before
                started = [operation.slot, *self.watch.threads[operation.slot]]
                journal.note({"started": started}, must=False)
            self._committed[operation.slot] = self._staged(operation.slot)
        elif operation.kind == "command" and operation.after == "off":
            self.watch.threads.pop(operation.slot, None)

    def _staged(self, slot: int) -> dict[str, str]:
        return staged(self.current.tree, slot, self._done)

    def _read_back(self, slot: int) -> None:
        """Raise Unverified if anything written since the last call does not read back."""
        each, fresh = self._plan_of(slot), self._done[self._read.get(slot, 0) :]
        read_back(self.machine, slot, each.name if each else "", self._staged(slot), fresh)
        self._read[slot] = self._turn

    def _mend(self, slot: int, gone: Collection[int], journal: Unwritten) -> bool:
        """Go on without the processes whose end made an operation fail; return whether it can."""
        each = self._plan_of(slot)
        if each is None:
            return False
        running = read_value(self.machine, kdamond_path(slot, Kdamond().state.path)) == "on"
        tree = self.current.tree
        planned = staged(tree, slot, self.header.operations)
        each = replace(each, after={**fed(planned, each.after), **each.after})
        committed: Tree | None = self._committed.get(slot)
        names = each.names
        if committed is None:  # files may have been staged by someone since
            record = self.header.managed.slots.get(slot)
            committed = record.files if record else slot_tree(tree, slot)
            names = each.names_before
        halfway = Halfway(self._staged(slot), committed, names, running)
        kdamond = by_name(self.plan.policies)[each.name]
        mended = mend(each, gone, halfway, kdamond, self._spares(each))
        if mended is None:
            return False
        replanned, rest = mended
        if not running:  # up to 6.12 a commit that fails ends the kdamond
            self.watch.threads.pop(slot, None)
        plans = tuple(replanned if known.slot == slot else known for known in self.plan.kdamonds)
        self.plan = replace(self.plan, kdamonds=plans)
        self._mended.add(slot)
        self._go_on(slot, rest, replanned.after, journal)
        log.debug("ended meanwhile", kdamond=each.name, processes=sorted(gone))
        return True

    def _tidy(self, slot: int, journal: Unwritten) -> None:
        """After the last commit of a mended plan, remove from the files what the kernel dropped."""
        later = self.header.operations[self._turn + 1 :]
        if slot not in self._mended or any(each.slot == slot for each in later):
            return
        self._mended.discard(slot)
        after = self.header.after[slot]
        operations, _ = changes(slot, self._committed[slot], after, "commit")
        if operations:
            self._go_on(slot, operations, after, journal)

    def _go_on(self, slot: int, rest: Iterable[Operation], after: Tree, journal: Unwritten) -> None:
        """Follow another plan for a slot after an operation."""
        later = self.header.operations[self._turn + 1 :]
        others = (other for other in later if other.slot != slot)
        self.header = replace(
            self.header,
            operations=(*self._done, *rest, *others),
            after={**self.header.after, slot: after},
        )
        journal.go_on(self._turn + 1, self.header, slot)
        self.watch.follow(self.header)

    def _plan_of(self, slot: int) -> KdamondPlan | None:
        return next((each for each in self.plan.kdamonds if each.slot == slot), None)

    def _spares(self, each: KdamondPlan) -> Iterator[Member]:
        """Return living processes that are not monitored yet, looked up on demand."""
        for pid, start in self._spares_of(each.name):
            if (pid, start) not in each.members and starts(self.machine, pid) == start:
                yield pid, start

    def _members(self, slot: int) -> tuple[Member, ...]:
        each = self._plan_of(slot)
        return each.members if each else ()

    def _ended(self, operation: Operation) -> set[int]:
        """Return the pids that the kernel would no longer find."""
        members = self._members(operation.slot) if looks_pids_up(operation) else ()
        return dead(self.machine, members)

    def _patience(self, operation: Operation) -> float:
        """Return the seconds that an operation may take, looked up once for each slot."""
        if operation.kind == "inputs":
            return patience(self.machine, operation, self.header)
        if operation.slot not in self._waits:
            self._waits[operation.slot] = patience(self.machine, operation, self.header)
        return self._waits[operation.slot]
