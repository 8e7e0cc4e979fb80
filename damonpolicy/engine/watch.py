"""Protection of others' slots: a transaction never wipes, stops or commits them.

The kernel knows no owner. So slots are checked again before the first write, and before each write
that wipes; a kdamond that runs is known by its pid and start time. Others have written the files
with neither an old, a new, nor a default value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from damonpolicy.base.errors import Foreign
from damonpolicy.engine.execute import OperationFailed, alive, thread_of
from damonpolicy.engine.journal import Header, Thread
from damonpolicy.kernel.damon.schema import COUNTS, default
from damonpolicy.kernel.damon.tree import (
    Tree,
    configuration,
    differing,
    empty_slot,
    is_volatile,
    slot_tree,
    snapshot,
)
from damonpolicy.kernel.damon.view import Kdamond, Kdamonds, Scheme
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import Machine, read_value
from damonpolicy.plan.machine_state import Current

__all__ = ("Known", "Watch")

_LISTS = (Kdamond().targets, Scheme().filters)
_PART = rf"(.*(?:{'|'.join(each.name for each in _LISTS)}))/\d+/(.+)\Z"
_COUNTS = tuple(f"/{COUNTS[each.name]}" for each in _LISTS)


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


class Known:
    """The values that a transaction allows in the files of the slots."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._written: dict[int, dict[str, set[str]]] = {}
        for operation in header.operations:
            if operation.slot >= 0:
                path = operation.relative.removeprefix(f"{operation.slot}/")
                texts = self._written.setdefault(operation.slot, {}).setdefault(path, set())
                texts.update((operation.before, operation.after))

    def strangers(self, slot: int, now: Tree) -> list[str]:
        """Return the paths of a slot's tree whose content is not ours."""
        header = self._header
        old, record = slot_tree(header.before.tree, slot), header.managed.slots.get(slot)
        # an undo writes what was last verified, too
        trees = (old, header.after.get(slot, {}), record.files if record else {})
        written = self._written.get(slot, {})
        parts = _parts(trees)
        return [
            path
            for path, value in configuration(now).items()
            if value != default(path)
            and all(tree.get(path) != value for tree in trees)
            and value not in written.get(path, ())
            and not is_volatile(path, old)
            and not _shorter(path, value, trees, parts)
        ]


def _parts(trees: Iterable[Tree]) -> dict[tuple[str, str], set[str]]:
    """Return the contents of the files of lists, by list and name, ignoring positions."""
    parts: dict[tuple[str, str], set[str]] = {}
    for tree in trees:
        for path, value in tree.items():
            if match := re.match(_PART, path):
                parts.setdefault((match[1], match[2]), set()).add(value)
    return parts


def _shorter(
    path: str, value: str, trees: Iterable[Tree], parts: Mapping[tuple[str, str], set[str]]
) -> bool:
    """Return whether a file belongs to a list of targets or filters without missing ones.

    Their processes have ended, or their cgroups are missing. An undo stages such a list while it
    commits; if it is killed then, the next undo finds it.
    """
    if match := re.match(_PART, path):
        return value in parts.get((match[1], match[2]), ())
    if not path.endswith(_COUNTS) or not value.isdecimal():
        return False
    return any(int(value) <= int(tree.get(path) or "0") for tree in trees)
