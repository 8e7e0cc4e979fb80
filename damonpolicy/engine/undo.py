"""Back to before: compare the kernel with how it was, and restore what differs.

Not a reversed list of operations: after a crash nobody knows how far it came, and counts
wipe more than they say. What holds neither an old nor a new value belongs to someone
else, is left alone, and makes the undo incomplete.
"""

from __future__ import annotations

from dataclasses import replace

from damonpolicy.engine.execute import OperationFailed, alive, deadline, patience, perform
from damonpolicy.engine.journal import Header
from damonpolicy.engine.undone import Undone
from damonpolicy.kernel.host import starts
from damonpolicy.kernel.modules import REGION, module_of, parameter_path
from damonpolicy.kernel.operation import Operation, Phase, kdamond_path
from damonpolicy.kernel.settings import ADVISOR, PAGES, normalise, paced
from damonpolicy.kernel.sysfs import KDAMONDS, Machine, read_or
from damonpolicy.kernel.tree import (
    configuration,
    default,
    is_volatile,
    slot_numbers,
    slot_tree,
    snapshot,
    startable,
)
from damonpolicy.plan.changes import changes, differing
from damonpolicy.plan.lacking import without_gone
from damonpolicy.plan.managed import Managed
from damonpolicy.plan.online import without_dead

__all__ = ("undo",)

_EMPTY = {"contexts/nr_contexts": "0"}
_SAMPLE = "contexts/0/monitoring_attrs/intervals/sample_us"
_TARGETS = "contexts/0/targets/nr_targets"
_TRIES = 5
"""How often a command is given whose processes end meanwhile."""


def undo(
    machine: Machine,
    header: Header,
    intents: set[int],
    managed: Managed,
    *,
    overwrite: bool = False,
) -> Undone:
    """Restore the tree, the running states and the settings of before a transaction.

    ``intents`` are the operations (counts, commands, settings) that may have been done;
    ``managed`` is what was managed before, and knows which processes the pids were. With
    ``overwrite`` also what someone else wrote into the transaction's slots and settings.
    """
    return _Undo(machine, header, intents, managed, overwrite=overwrite).run()


class _Undo:
    def __init__(
        self,
        machine: Machine,
        header: Header,
        intents: set[int],
        managed: Managed,
        *,
        overwrite: bool,
    ) -> None:
        self.machine = machine
        self.overwrite = overwrite
        self.managed = managed
        self.header = header
        self.before = header.before
        self.intended = [
            operation
            for index, operation in enumerate(header.operations)
            if index in intents or (overwrite and operation.kind == "setting")
        ]
        self.result = Undone()
        self.recounted = any(each.slot < 0 and each.kind == "count" for each in self.intended)
        touched = {each.slot for each in header.operations if each.slot >= 0}
        self.slots = sorted(touched)
        self.gone: set[int] = set()
        self.miscounted = False
        """Whether the number of slots stays as someone else has left it."""
        self.deserted: set[int] = set()
        """Slots whose kdamond ran, and has nobody left to run for."""

    def run(self) -> Undone:
        self._settings("modules")
        self._settings("restore")
        self._stop_started()
        self._read_tuned()
        self._trees()
        self._commit()
        self._start_stopped()
        self._settings("settings")
        self._modules()
        self._compare()
        return self.result

    def _do(self, operation: Operation) -> bool:
        reason = self._try(operation)
        if reason:
            self.result.problems.append(reason)
        return not reason

    def _try(self, operation: Operation) -> str:
        """Do one operation; return why it failed."""
        if operation.kind == "inputs":
            seconds = patience(self.machine, operation, self.header.operations)
        else:
            seconds = deadline(self.before.tree, operation.slot)
        try:
            perform(self.machine, operation, seconds)
        except OperationFailed as error:
            return str(error)
        return ""

    def _question(self, slot: int, before: str, word: str) -> Operation:
        return Operation("command", "commit", kdamond_path(slot, "state"), before, word, slot)

    def _command(self, slot: int, before: str, word: str) -> bool:
        return self._do(self._question(slot, before, word))

    def _intended(self, slot: int, *words: str) -> bool:
        return any(
            each.kind == "command" and each.slot == slot and each.after in words
            for each in self.intended
        )

    def _was_on(self, slot: int) -> bool:
        return self.before.tree.get(f"{slot}/state") == "on"

    def _is_on(self, slot: int) -> bool:
        return read_or(self.machine, kdamond_path(slot, "state")) == "on"

    def _same_thread(self, slot: int) -> bool:
        """Tell whether the kdamond of before runs, or the one that an earlier undo has started."""
        pid = read_or(self.machine, kdamond_path(slot, "pid"), "-1")
        known = [(self.before.tree.get(f"{slot}/pid"), self.before.starts.get(slot, 0))]
        if slot in self.managed.slots:
            record = self.managed.slots[slot]
            known.append((str(record.pid), record.start))
        return pid.isdecimal() and (pid, starts(self.machine, int(pid))) in known

    def _settings(self, phase: Phase) -> None:
        """Put settings back in reverse order; those put back late by the plan come first."""
        for operation in reversed(self.intended):
            if operation.kind != "setting" or operation.phase != phase:
                continue
            now = normalise(read_or(self.machine, operation.path))
            if now == normalise(operation.before) or self._kernels(operation):
                continue
            ours = now == normalise(operation.after) or self._chosen(operation.path)
            if not ours and not self.overwrite:
                self.result.leave(
                    f"`{operation.path}` is neither what it was nor what was written:"
                    " it is left alone"
                )
                continue
            self._do(operation.inverse)

    def _kernels(self, operation: Operation) -> bool:
        """Tell whether the kernel itself sets this, once its advisor is on again."""
        modes = [each.before for each in self.intended if each.path == ADVISOR]
        modes.append(read_or(self.machine, ADVISOR))
        return operation.path == PAGES and any(map(paced, modes))

    def _chosen(self, path: str) -> bool:
        """Tell whether the kernel itself has written this: a module's region, when it took it."""
        module = module_of(path)
        takes = (each for each in self.intended if module_of(each.path) == module)
        return path.endswith(REGION) and any(
            each.kind == "inputs" or each.starts_module for each in takes
        )

    def _modules(self) -> None:
        """Take back the regions that the kernel has chosen, and hand the rest over again."""
        written = {each.path for each in self.intended if each.kind == "setting"}
        for path, before in self.before.settings.items():
            now = read_or(self.machine, path)
            if path not in written and self._chosen(path) and now != before:
                self._do(Operation("setting", "settings", path, now, before))
        for operation in self.intended:
            if operation.kind != "inputs":
                continue
            module = module_of(operation.path)
            switch = parameter_path(module, "enabled")
            if read_or(self.machine, switch) == "Y":
                self._do(replace(operation, before="N", after="Y"))
            elif self._do(Operation("setting", "modules", switch, "N", "Y")):
                self.result.remarks.append(f"{module} was started anew: its results are lost")

    def _stop_started(self) -> None:
        for slot in self.slots:
            if not self._is_on(slot) or (self._was_on(slot) and self._same_thread(slot)):
                continue
            if self._intended(slot, "on") or self.overwrite:
                self._command(slot, "on", "off")
            else:
                self.result.leave(f"slot {slot} was started by someone else")

    def _read_tuned(self) -> None:
        """Let the files show tuned intervals, so that the commit does not reset them."""
        for slot in self.slots:
            if self._must_commit(slot) and is_volatile(_SAMPLE, self._old(slot)):
                self._command(slot, "on", "update_tuned_intervals")

    def _old(self, slot: int) -> dict[str, str]:
        return slot_tree(self.before.tree, slot)

    def _trees(self) -> None:
        slots = self.slots
        if self._recount():
            slots = slot_numbers(self.before.tree)
            if self.overwrite:  # whoever took them away has stopped what ran in them
                self.slots = sorted({*self.slots, *slots})
        now = snapshot(self.machine)
        for slot in slots:
            if slot in slot_numbers(now):
                self._tree(slot, slot_tree(now, slot))

    def _recount(self) -> bool:
        """Make as many slots as there were, all of them empty; tell whether that was done."""
        now, count = snapshot(self.machine), self.before.tree.get("nr_kdamonds", "0")
        found = now.get("nr_kdamonds", "0")
        if found == count or not (self.recounted or self.overwrite):
            return False
        if self._configured(now):
            self.miscounted = self.overwrite
            return False
        write = Operation("count", "stage", f"{KDAMONDS}/nr_kdamonds", found, count)
        if not self.overwrite:
            return self._do(write)
        reason = self._try(write)
        if reason:
            self.miscounted = True
            self.result.remarks.append(reason)
        return not reason

    def _configured(self, now: dict[str, str]) -> bool:
        """Tell whether someone else has filled a slot: a write to nr_kdamonds would wipe it."""
        kept = [
            slot
            for slot in slot_numbers(now)
            if slot not in self.slots and self._strangers(slot, slot_tree(now, slot))
        ]
        for slot in kept:
            told = self.result.remarks.append if self.overwrite else self.result.leave
            told(f"slot {slot} was configured by someone else: it is left alone")
        touched = (slot for slot in self.slots if slot in slot_numbers(now))
        return bool(kept) or any(self._strangers(slot, slot_tree(now, slot)) for slot in touched)

    def _tree(self, slot: int, now: dict[str, str]) -> None:
        old = configuration(self._old(slot)) or _EMPTY
        strangers = self._strangers(slot, now)
        for path in strangers:
            self.result.leave(f"`{slot}/{path}` was changed by someone else: it is left alone")
        if any(path not in old for path in strangers):
            return  # going back would wipe its directory
        # What is started anew needs intervals within its bounds; a new directory has others.
        anew = self._was_on(slot) and not (self._is_on(slot) and self._same_thread(slot))
        if anew:
            old = startable(self._old(slot))
        desired = {**old, **{path: now[path] for path in strangers}}
        operations, _ = changes(slot, now, desired, anew=anew)
        for operation in operations:
            self._do(operation)

    def _strangers(self, slot: int, now: dict[str, str]) -> list[str]:
        """Return the files that hold neither an old, a new, nor a fresh value."""
        if self.overwrite and slot in self.slots:
            return []
        old, new = self._old(slot), self.header.after.get(slot, {})
        written: dict[str, set[str]] = {}
        prefix = f"{slot}/"
        for operation in self.header.operations:
            if operation.slot == slot:
                path = operation.relative.removeprefix(prefix)
                written.setdefault(path, set()).update((operation.before, operation.after))
        return [
            path
            for path, value in configuration(now).items()
            if value not in (old.get(path), new.get(path), default(path))
            and value not in written.get(path, ())
            and not is_volatile(path, old)
        ]

    def _must_commit(self, slot: int) -> bool:
        return (
            self._was_on(slot)
            and self._is_on(slot)
            and self._same_thread(slot)
            and (self.overwrite or self._intended(slot, "commit"))
        )

    def _commit(self) -> None:
        """Hand the old configuration to the kernel."""
        for slot in self.slots:
            if self._must_commit(slot):
                self._with_living(slot, "on", "commit")

    def _start_stopped(self) -> None:
        for slot in self.slots:
            if not self._was_on(slot) or self._is_on(slot):
                continue
            if self.miscounted and not self.machine.exists(kdamond_path(slot, "state")):
                self.result.remarks.append(f"slot {slot} is gone: nothing runs there again")
                self.gone.add(slot)
                continue
            if not self._with_living(slot, "off", "on"):
                continue
            pid = int(read_or(self.machine, kdamond_path(slot, "pid"), "-1"))
            self.result.restarted[slot] = (pid, starts(self.machine, pid))
            self.result.remarks.append(
                f"the kdamond of slot {slot} was started anew: its results are lost"
            )

    def _with_living(self, slot: int, before: str, word: str) -> bool:
        """Give a command whose targets have to live; the files then say again what they said.

        Vanished processes cannot be put back, and one may vanish at any time: up to 6.12 its
        commit ends the kdamond (mm/damon/sysfs.c, damon_sysfs_commit_input()).
        """
        reason = ""
        for _ in range(_TRIES):
            said = configuration(slot_tree(snapshot(self.machine), slot))
            living = self._living(slot, said)
            if living == said:
                reason = self._try(self._question(slot, before, word))
            elif living is None:
                if word == "on":
                    self.deserted.add(slot)
                self.result.remarks.append(f"slot {slot}: all its processes have ended")
                return False
            else:
                self._stage(slot, living)
                reason = self._try(self._question(slot, before, word))
                self._stage(slot, said)
            if not reason:
                if living != said:
                    dead = living.get(_TARGETS) != said.get(_TARGETS)
                    what = "processes that ended" if dead else "filters on cgroups that are gone"
                    self.result.remarks.append(f"slot {slot}: {what} are not put back")
                return True
            if living == self._living(slot, said) or read_or(
                self.machine, kdamond_path(slot, "state")
            ) != before:  # fmt: skip
                break
        if self._is_on(slot) or word == "on":  # else it is started anew, and that may fail
            self.result.problems.append(reason)
        return False

    def _living(self, slot: int, tree: dict[str, str]) -> dict[str, str] | None:
        """Return a tree without targets whose process has ended, None where none is left.

        And without filters on cgroups that are gone: the kernel refuses those, too.
        """
        record = self.managed.slots.get(slot)
        known = dict(record.members if record else ())

        def lives(pid: int) -> bool:  # as the process that it was
            start = starts(self.machine, pid)
            return bool(start) and known.get(pid, start) == start

        living = without_dead(tree, lives)
        if living != tree and living.get(_TARGETS, "0") == "0":
            return None
        return without_gone(living, self.machine)

    def _stage(self, slot: int, tree: dict[str, str]) -> None:
        operations, _ = changes(slot, slot_tree(snapshot(self.machine), slot), tree)
        for operation in operations:
            self._do(operation)

    def _compare(self) -> None:
        """Nothing is taken on trust: the undo is good when all is as it was."""
        now = snapshot(self.machine)
        count = self.before.tree.get("nr_kdamonds")
        if now.get("nr_kdamonds") != count and not self.miscounted:
            self.result.leave("the number of slots is not what it was")
        for slot in slot_numbers(self.before.tree) if self.recounted else self.slots:
            old = configuration(self._old(slot))
            if not old or slot in self.gone:
                continue
            wrong = differing(slot_tree(now, slot), old)
            if wrong:
                first = f"`{slot}/{wrong[0]}`"
                more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
                self.result.problems.append(f"{first}{more} not as before")
            if slot in self.deserted:
                continue  # as if its last process had ended a moment before
            if self._was_on(slot):
                pid, reason = alive(self.machine, slot, deadline(self.before.tree, slot))
                if pid < 0:
                    self.result.problems.append(f"the kdamond of slot {slot} is not on: {reason}")
            elif now.get(f"{slot}/state") == "on":
                self.result.problems.append(f"the kdamond of slot {slot} is still on")
        settings: dict[str, Operation] = {}
        for operation in self.intended:
            if operation.kind == "setting" and not self._kernels(operation):
                settings.setdefault(operation.path, operation)
        for path, operation in settings.items():
            content = read_or(self.machine, path)
            if normalise(content) != normalise(operation.before):
                self.result.problems.append(f"`{path}` holds `{content}`")
