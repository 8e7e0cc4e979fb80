"""Protection of others' slots: a transaction never wipes, stops or commits them.

The kernel knows no owner. So slots are checked again before the first write, and before each write
that wipes; a kdamond that runs is known by its pid and start time.
"""

from __future__ import annotations

from damonpolicy.base.errors import Foreign
from damonpolicy.engine.execute import OperationFailed, alive, thread_of
from damonpolicy.engine.foreign import Known
from damonpolicy.engine.journal import Header, Thread
from damonpolicy.kernel.damon.tree import Tree, configuration, empty_slot, slot_tree, snapshot
from damonpolicy.kernel.damon.view import Kdamonds
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import Machine, read_value
from damonpolicy.plan.diff import differing
from damonpolicy.plan.machine_state import Current

__all__ = ("Watch",)


class Watch:
    """The known state of the slots during a transaction."""

    def __init__(self, machine: Machine, current: Current, header: Header) -> None:
        self.machine = machine
        self.current = current
        self.threads: dict[int, Thread] = {
            slot: (current.pid(slot), start) for slot, start in current.starts.items()
        }
        """The kdamonds that we know to run, by slot."""
        self.follow(header)

    def follow(self, header: Header) -> None:
        """Treat the operations of a header as ours."""
        self.header = header
        self._known: Known | None = None

    @property
    def known(self) -> Known:
        """The values that are ours or were there; built on demand, as plans may be replaced."""
        if self._known is None:
            self._known = Known(self.header)
        return self._known

    def unchanged(self) -> None:
        """Raise Foreign if someone has changed a slot since the plan was made.

        All slots count if their number is written, which wipes them.
        """
        operations, slots = self.header.operations, self.current.slots
        if not any(each.kind == "count" and each.slot < 0 for each in operations):
            slots = sorted({each.slot for each in operations} - {-1})
        now = snapshot(self.machine, slots=slots)
        if len(Kdamonds(now)) != len(self.current.slots):
            raise _meanwhile("the number of slots was changed")
        for slot in slots:
            if slot not in self.current.slots:
                continue
            if self.thread(slot, now) != self.threads.get(slot) or differing(
                slot_tree(now, slot), configuration(self.current.slot(slot))
            ):
                raise _meanwhile(f"slot {slot} was changed")

    def thread(self, slot: int, tree: Tree) -> Thread | None:
        """Return the thread that runs in a slot, None while it is off."""
        kdamond = Kdamonds(tree)[slot]
        pid = kdamond.pid.number
        return (pid, starts(self.machine, pid)) if kdamond.state.text == "on" else None

    def before_wiping(self, operation: Operation) -> None:
        """Raise OperationFailed if a count would wipe others' writes."""
        try:
            now = read_value(self.machine, operation.path)
        except FileNotFoundError:
            return  # there is nothing to wipe, and the write will report the error
        except OSError as error:
            raise OperationFailed.by(operation, error) from error
        if now != operation.before:
            raise OperationFailed(operation, f"someone else has written `{now}`")
        if now == "0":
            return  # there is nothing to wipe
        every = self.current.slots if operation.slot < 0 else [operation.slot]
        tree = snapshot(self.machine, slots=every)
        for slot in every:
            own = slot_tree(tree, slot)
            if operation.slot < 0 and slot not in self.header.after and not empty_slot(own):
                raise OperationFailed(operation, f"someone else has configured slot {slot}")
            if self.thread(slot, tree) != self.threads.get(slot):
                raise OperationFailed(operation, f"someone else has started or stopped slot {slot}")
            if strangers := self.known.strangers(slot, own):
                what = f"someone else has changed `{slot}/{strangers[0]}`"
                raise OperationFailed(operation, what)

    def same_thread(self, operation: Operation) -> None:
        """Raise OperationFailed if the running kdamond is no longer the known one."""
        thread = thread_of(self.machine, operation.slot)
        if thread[0] > 0 and thread != self.threads.get(operation.slot):
            raise OperationFailed(operation, "another kdamond runs in this slot now")

    def alive(self, operation: Operation, seconds: float) -> None:
        """Raise OperationFailed if no kdamond runs in a slot, or another one after a commit."""
        slot = operation.slot
        pid, reason = alive(self.machine, slot, seconds)
        if pid < 0:
            what = f"the kernel took it, but the kdamond is dead: {reason}"
            raise OperationFailed(operation, what)
        thread = (pid, starts(self.machine, pid))
        if operation.after == "commit" and thread != self.threads.get(slot):
            raise OperationFailed(operation, "another kdamond runs in this slot now")
        self.threads[slot] = thread


def _meanwhile(what: str) -> Foreign:
    return Foreign(
        f"{what} by someone else meanwhile", hint="check with `damonpolicy status`, then try again"
    )
