"""The slots of an undo as they were and as they are, and whose what runs in them is."""

from __future__ import annotations

from damonpolicy.engine.foreign import Known
from damonpolicy.engine.journal import Thread
from damonpolicy.engine.undo_context import Undoing
from damonpolicy.kernel.damon.tree import Tree, configuration, slot_tree, snapshot
from damonpolicy.kernel.operation import kdamond_path
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import read_value
from damonpolicy.plan.diff import differing

__all__ = ("SlotFacts",)


class SlotFacts:
    """What an undo asks about its slots before it does something."""

    def __init__(self, undoing: Undoing) -> None:
        self.undoing = undoing
        self.machine = undoing.machine
        self.before = undoing.before
        self.progress = undoing.progress
        self.result = undoing.result
        operations = undoing.header.operations
        self.slots = sorted({each.slot for each in operations if each.slot >= 0})
        self.recounted = any(each.slot < 0 and each.kind == "count" for each in undoing.intended)
        self.known = Known(undoing.header)
        self.theirs: set[int] = set()
        """Slots in which someone else runs a kdamond, where nothing is written."""
        self.gone: set[int] = set()
        self.miscounted = False
        """Whether the number of slots stays as someone else set it."""
        self.deserted: set[int] = set()
        """Slots whose kdamond ran, but has no process left to monitor."""

    # What was

    def _old(self, slot: int) -> dict[str, str]:
        return slot_tree(self.before.tree, slot)

    def _ran(self, slot: int) -> Tree:
        """Return what the kdamond ran: its last verified commit, ignoring later staging."""
        record = self.undoing.managed.slots.get(slot)
        if record is not None and record.thread == self.before.thread(slot):
            return configuration(record.files)
        return configuration(self._old(slot))

    # What is

    def _now(self, slot: int) -> dict[str, str]:
        return slot_tree(snapshot(self.machine, slots=[slot]), slot)

    def _is_on(self, slot: int) -> bool:
        path = kdamond_path(slot, "state")
        return self.machine.exists(path) and read_value(self.machine, path) == "on"

    def _thread(self, slot: int) -> Thread:
        pid = int(read_value(self.machine, kdamond_path(slot, "pid")) or "-1")
        return pid, starts(self.machine, pid) if pid > 0 else 0

    def _of_before(self, slot: int) -> bool:
        """Return whether the running kdamond is the earlier one, or was started by an undo."""
        return self._known_thread(slot) or self._unnoted(slot)

    def _known_thread(self, slot: int) -> bool:
        known = {self.before.thread(slot), *self.progress.restarted.get(slot, ())}
        if slot in self.undoing.managed.slots:
            known.add(self.undoing.managed.slots[slot].thread)
        return self._thread(slot) in known

    def _unnoted(self, slot: int) -> bool:
        """Return whether an undo has started the running kdamond, but could not record the thread.

        It was killed between the two, or could not write; we had stopped the earlier kdamond, and
        all files are as before. Even if someone else had started it, it is the wanted one.
        """
        stopped = slot in self.progress.restarting or self._intended(slot, "off")
        return stopped and not differing(self._now(slot), configuration(self._old(slot)))

    def _of_transaction(self, slot: int) -> bool:
        """Return whether the transaction has started the running kdamond."""
        started = self.progress.started.get(slot, set())
        if self._thread(slot) in started:
            return True
        # killed between the `on` and the note of its thread: all bytes are ours then
        intended = self._intended(slot, "on") and not started
        return intended and not self.known.strangers(slot, self._now(slot))

    def _intended(self, slot: int, *words: str) -> bool:
        return any(
            each.kind == "command" and each.slot == slot and each.after in words
            for each in self.undoing.intended
        )

    def _must_commit(self, slot: int) -> bool:
        """Return whether the running configuration may differ from before: files prove nothing."""
        if not (self.before.running(slot) and self._is_on(slot)):
            return False
        again = slot in self.progress.restarted or slot in self.progress.restarting
        committed = self.undoing.overwrite or again or self._intended(slot, "commit")
        return committed or not self._known_thread(slot)
