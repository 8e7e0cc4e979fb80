"""The undo of slots: their files, their running configuration, and which of them run.

Before it does something, it asks what was, what is, and whose what runs is.
"""

from __future__ import annotations

from damonpolicy.engine.execute import OperationFailed, alive, deadline_amid, thread_of
from damonpolicy.engine.journal import Unwritten
from damonpolicy.engine.undo_context import Undoing, Undone
from damonpolicy.engine.watch import Known
from damonpolicy.kernel.damon.tree import (
    Tree,
    configuration,
    differing,
    fed,
    held,
    is_volatile,
    kdamond_path,
    slot_numbers,
    slot_tree,
    snapshot,
    startable,
)
from damonpolicy.kernel.damon.view import Kdamond, Kdamonds
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import KDAMONDS, Machine, read_value
from damonpolicy.plan import online
from damonpolicy.plan.diff import changes
from damonpolicy.plan.ir import CompiledKdamond, by_name
from damonpolicy.plan.missing import without_gone
from damonpolicy.plan.uncommitted import unfed

__all__ = ("Slots",)

_EMPTY = {Kdamond().contexts.path: "0"}
_SAMPLE = Kdamond().intervals.sample.path
_TRIES = 5
"""The number of times a command is repeated because processes end meanwhile."""


class Slots(Undoing):
    """Restores the slots of a transaction to their earlier state."""

    def __init__(
        self, machine: Machine, journal: Unwritten, result: Undone, *, overwrite: bool
    ) -> None:
        super().__init__(machine, journal, result, overwrite=overwrite)
        self.slots = sorted({each.slot for each in self.header.operations if each.slot >= 0})
        self.recounted = any(each.slot < 0 and each.kind == "count" for each in self.intended)
        self.known = Known(self.header)
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
        record = self.managed.slots.get(slot)
        if record is not None and record.thread == self.before.thread(slot):
            return configuration(record.files)
        return configuration(self._old(slot))

    # What is

    def _now(self, slot: int) -> dict[str, str]:
        return slot_tree(snapshot(self.machine, slots=[slot]), slot)

    def _is_on(self, slot: int) -> bool:
        path = kdamond_path(slot, Kdamond().state.path)
        return self.machine.exists(path) and read_value(self.machine, path) == "on"

    def _known_thread(self, slot: int) -> bool:
        known = {self.before.thread(slot), *self.progress.restarted.get(slot, ())}
        if slot in self.managed.slots:
            known.add(self.managed.slots[slot].thread)
        return thread_of(self.machine, slot) in known

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
        if thread_of(self.machine, slot) in started:
            return True
        # killed between the `on` and the note of its thread: all bytes are ours then
        intended = self._intended(slot, "on") and not started
        return intended and not self.known.strangers(slot, self._now(slot))

    def _intended(self, slot: int, *words: str) -> bool:
        return any(
            each.kind == "command" and each.slot == slot and each.after in words
            for each in self.intended
        )

    def _must_commit(self, slot: int) -> bool:
        """Return whether the running configuration may differ from before: files prove nothing."""
        if not (self.before.running(slot) and self._is_on(slot)):
            return False
        again = slot in self.progress.restarted or slot in self.progress.restarting
        committed = self.overwrite or again or self._intended(slot, "commit")
        return committed or not self._known_thread(slot)

    # Steps

    def stop_started(self) -> None:
        """Stop the kdamonds that the transaction has started."""
        for slot in self.slots:
            earlier = self.before.running(slot)  # or an undo has started it
            if not self._is_on(slot) or (
                earlier and (self._known_thread(slot) or self._unnoted(slot))
            ):
                continue
            if self._of_transaction(slot) or self.overwrite:
                self.do(Operation.command(slot, "off"))
            else:
                self.result.leave(f"slot {slot} was started by someone else")
                self.theirs.add(slot)

    def restore(self) -> None:
        """Restore the number of slots, their files, and their kdamonds' configurations."""
        slots = self.slots
        if self._recount():
            slots = slot_numbers(self.before.tree)
            if self.overwrite:  # whoever removed them has stopped their kdamonds
                self.slots = sorted({*self.slots, *slots})
        now = snapshot(self.machine)
        for slot in slots:
            if slot in self.theirs:
                continue
            if slot in slot_numbers(now):
                with self.result.noting():
                    self._restore(slot)
            elif self.before.running(slot) and self.miscounted:
                self.result.remark(f"slot {slot} is gone: nothing runs there again")
                self.gone.add(slot)

    def _restore(self, slot: int) -> None:
        commits, is_on = self._must_commit(slot), self._is_on(slot)
        kept = configuration(self._old(slot)) or _EMPTY
        kept = {**fed(self._old(slot), kept), **kept}
        if not self.before.running(slot) or (is_on and not commits):
            self._stage(slot, kept)
            return
        ran, after = self._ran(slot), self.header.after.get(slot, {})
        # Schemes would act on the memory of another process; or a commit that the plan has not
        # foreseen would wait for watermarks (see `online.change`, which restarts alike).
        sleeps = not self._intended(slot, "commit") and not self._answers(slot, ran)
        strays = online.shifts((ran, after), ran) and online.acts(ran)
        if commits and (sleeps or strays):
            if not self.do(Operation.command(slot, "off")):
                return
            commits = False
        # A start needs intervals within its bounds; a new directory has others.
        begins = not commits or online.retuned(after, ran)
        if commits and not begins and is_volatile(_SAMPLE, self._old(slot)):
            # the files show tuned intervals then, so that the commit does not set them back
            self.do(Operation.command(slot, "update_tuned_intervals"))
        if begins:
            ran = {**startable(self._old(slot)), **ran}
        ran = {**fed(self._old(slot), ran), **ran}
        steps = online.commit_steps((ran, after, kept), ran) if commits else [ran]
        for step in steps:
            if not self._stage(slot, step, anew=begins):
                return
            if not self._with_living(slot, "commit" if commits else "on", (ran, after)):
                if slot not in self.deserted:
                    return
                break
        else:
            kdamond = self._kdamond(slot)
            if commits and kdamond and unfed(kdamond.uncommitted, ran, after):
                if not self._with_living(slot, "commit", (ran,)):
                    return
        if differing(ran, kept) and slot not in self.result.living:
            self._stage(slot, kept)

    def _kdamond(self, slot: int) -> CompiledKdamond | None:
        """Return the record of a slot's kdamond."""
        managed = self.managed
        record = managed.slots.get(slot)
        return by_name(managed.policies).get(record.kdamond) if record else None

    def _answers(self, slot: int, ran: Tree) -> bool:
        """Return whether this kernel answers a commit even while the schemes sleep."""
        kdamond = self._kdamond(slot)
        commit = kdamond.commit if kdamond else "waits"
        return commit == "answered" or (commit == "waits" and not online.may_sleep(ran))

    def _stage(self, slot: int, wanted: Tree, *, anew: bool = False) -> bool:
        """Write files, and return whether they read back; keep others' writes."""
        now = self._now(slot)
        strangers = [] if self.overwrite else self.known.strangers(slot, now)
        for path in strangers:
            self.result.leave(f"`{slot}/{path}` was changed by someone else: it is left as it is")
        if any(path not in wanted for path in strangers):
            return False  # going back would wipe its directory
        return self._write(slot, {**wanted, **{path: now[path] for path in strangers}}, anew=anew)

    def _write(self, slot: int, wanted: Tree, *, anew: bool = False) -> bool:
        """Write files, and return whether they read back: nothing else is ever committed."""
        operations, tree = changes(slot, self._now(slot), wanted, anew=anew)
        # a goal that the transaction or an earlier pass has made again holds 0
        operations += [
            Operation(
                "write", "stage", kdamond_path(slot, path), held(path, tree), wanted[path], slot
            )
            for path in _unfed(tree, wanted)
        ]
        failed = [each for each in operations if not self.do(each)]
        now = self._now(slot)
        wrong = [*differing(now, wanted), *_unfed(now, wanted)]
        if wrong and not failed:
            self.result.problems.append(f"`{slot}/{wrong[0]}` does not read back as before")
        return not wrong

    def _with_living(self, slot: int, word: str, running: tuple[Tree, ...]) -> bool:
        """Send a command that needs living targets and existing cgroups.

        A commit over one of ``running`` becomes a restart if it would make schemes act at the
        addresses of an ended process.

        Vanished processes cannot be put back, and one may vanish at any time: up to 6.12 its
        commit ends the kdamond (mm/damon/sysfs.c, damon_sysfs_commit_input()). The kernel matches
        targets by position, so those that it took are on record then, and in the files; filters
        on cgroups that are gone stay in the files, and are committed when they are back.
        """
        before = "off" if word == "on" else "on"
        for _ in range(_TRIES):
            said = configuration(self._now(slot))
            left = self._left(slot, said)
            if left is None:
                # the transaction's processes may live, but the kdamond was to end with its own
                if word == "commit" and self._is_on(slot):
                    if not self.do(Operation.command(slot, "off")):
                        return False
                self.deserted.add(slot)
                self.result.remark(f"slot {slot}: all its processes have ended")
                return False
            if word == "commit" and online.acts(left) and online.shifts(running, left):
                if not self.do(Operation.command(slot, "off")):
                    return False
                before, word = "off", "on"
            taken = without_gone(left, self.machine)
            if taken != said and not self._write(slot, taken):
                return False
            failure = self._commanded(slot, before, word)
            if taken != said:
                self._write(slot, said if failure else left)
            if failure is None:
                if left != said:
                    self.result.living[slot] = left
                    self.result.remark(f"slot {slot}: processes that ended are not put back")
                if taken != left:
                    what = "filters on cgroups that are gone"
                    self.result.remark(f"slot {slot}: {what} are not put back")
                return True
            same = left == self._left(slot, said) and taken == without_gone(left, self.machine)
            if same or self._is_on(slot) != (before == "on"):
                break
        if failure is not None:  # up to 6.12 a commit that fails ends the kdamond: the next
            self.result.failed(failure)  # pass starts it
        return False

    def _commanded(self, slot: int, before: str, word: str) -> OperationFailed | None:
        """Send a command, and record the thread that it started; return why it failed."""
        if word == "on":
            self.journal.note({"restarting": slot}, must=False)
        try:
            self.attempt(Operation.command(slot, word, before))
        except OperationFailed as error:
            return error
        if word == "on":
            thread = thread_of(self.machine, slot)
            self.journal.note({"restarted": [slot, *thread]}, must=False)
            text = f"the kdamond of slot {slot} was started again: its results are lost"
            self.result.remark(text)
        return None

    def _left(self, slot: int, tree: dict[str, str]) -> dict[str, str] | None:
        """Return a tree without targets whose process has ended; None if none is left."""
        record = self.managed.slots.get(slot)
        known = dict(record.members if record else ())

        def lives(pid: int) -> bool:  # identified by pid and start time
            start = starts(self.machine, pid)
            return bool(start) and known.get(pid, start) == start

        living = online.without_dead(tree, lives)
        return None if living != tree and not online.pids(living) else living

    # The number of slots

    def _recount(self) -> bool:
        """Restore the number of slots, all of them empty; return whether that was done."""
        now = snapshot(self.machine)
        found, wanted = Kdamonds(now).count, Kdamonds(self.before.tree).count
        if found.text == wanted.text or not (self.recounted or self.overwrite):
            return False
        if self._configured(now):
            self.miscounted = self.overwrite
            return False
        path = f"{KDAMONDS}/{found.path}"
        write = Operation("count", "stage", path, found.text, wanted.text)
        if not self.overwrite:
            return self.do(write)
        try:
            self.attempt(write)
        except OperationFailed as error:
            self.miscounted = True
            self.result.remark(str(error))
            return False
        return True

    def _configured(self, now: Tree) -> bool:
        """Return whether someone else filled a slot, which a write to nr_kdamonds would wipe."""
        kept = [
            slot
            for slot in slot_numbers(now)
            if slot not in self.slots and self.known.strangers(slot, slot_tree(now, slot))
        ]
        for slot in kept:
            told = self.result.remark if self.overwrite else self.result.leave
            told(f"slot {slot} was configured by someone else: it is left as it is")
        if self.overwrite:
            return bool(kept)
        touched = (slot for slot in self.slots if slot in slot_numbers(now))
        theirs = any(self.known.strangers(slot, slot_tree(now, slot)) for slot in touched)
        return bool(kept) or theirs or bool(self.theirs)

    # The result

    def compare(self) -> None:
        """Verify: the undo is complete if everything is as before."""
        now = snapshot(self.machine)
        taken = any(slot not in slot_numbers(now) for slot in self.slots)
        ours = self.recounted or self.overwrite or taken
        same = slot_numbers(now) == slot_numbers(self.before.tree)
        if ours and not same and not self.miscounted:
            self.result.leave("the number of slots is not what it was")
        for slot in slot_numbers(self.before.tree) if self.recounted else self.slots:
            old = self.result.living.get(slot) or configuration(self._old(slot))
            if not old or slot in self.gone:
                continue
            if slot not in self.slots and self.known.strangers(slot, slot_tree(now, slot)):
                continue  # we have not touched it, and someone else took it meanwhile
            self._compare(slot, old, now)

    def _compare(self, slot: int, old: Tree, now: Tree) -> None:
        wrong = differing(slot_tree(now, slot), old)
        if wrong:
            first = f"`{slot}/{wrong[0]}`"
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            self.result.problems.append(f"{first}{more} not as before")
        if slot in self.deserted or slot in self.theirs:
            return  # as if its last process had ended a moment before
        if not self.before.running(slot):
            if Kdamonds(now)[slot].state.text == "on":
                self.result.problems.append(f"the kdamond of slot {slot} is still on")
            return
        seconds = deadline_amid(self.header, slot)
        pid, reason = alive(self.machine, slot, seconds, lock=self.hold)
        if pid < 0:
            self.result.problems.append(f"the kdamond of slot {slot} is not on: {reason}")
            return
        thread = (pid, starts(self.machine, pid))
        record = self.managed.slots.get(slot)
        if record is not None and thread != record.thread:
            self.result.restarted[slot] = thread


def _unfed(now: Tree, wanted: Tree) -> list[str]:
    return [path for path, value in fed(wanted, wanted).items() if held(path, now) != value]
