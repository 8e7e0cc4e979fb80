"""The undo of a transaction: compare the kernel with its earlier state, and restore differences.

It does not reverse a list of operations: after a crash nobody knows how far the change came, and a
write to a count wipes everything below it. A file that holds neither an old nor a new value belongs
to someone else, is left as it is, and makes the undo incomplete. An undo may be repeated.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from damonpolicy.engine.journal import Unwritten
from damonpolicy.engine.undo_context import Undoing, Undone
from damonpolicy.engine.undo_slots import Slots
from damonpolicy.kernel.damon.modules import REGION, module_of, parameter_path
from damonpolicy.kernel.operation import Operation, Phase
from damonpolicy.kernel.settings import ADVISOR, PAGES, normalise, paced
from damonpolicy.kernel.system.machine import Machine, read_or, read_value

__all__ = ("undo",)

_PASSES = 3
"""The number of passes, as an error may be temporary."""


def undo(machine: Machine, journal: Unwritten, *, overwrite: bool = False) -> Undone:
    """Restore the tree, the running states and the settings from before a transaction.

    With ``overwrite``, also over others' writes to the transaction's slots and settings.
    It raises nothing: failed reads and writes are problems of the result.
    """
    result = Undone()
    for _ in range(_PASSES):
        result.begin()
        settings = _Settings(machine, journal, result, overwrite=overwrite)
        slots = Slots(machine, journal, result, overwrite=overwrite)
        for step in (
            partial(settings.put_back, "modules"),
            partial(settings.put_back, "restore"),
            slots.stop_started,
            slots.restore,
            partial(settings.put_back, "settings"),
            settings.hand_over,
            slots.compare,
            settings.compare,
        ):
            with result.noting():  # a step that fails is noted, and the others still run
                step()
        if not result.problems or result.theirs or result.waited:
            break
    return result


class _Settings(Undoing):
    """The undo of settings, including DAMON's modules."""

    def put_back(self, phase: Phase) -> None:
        """Restore settings in reverse order; those that the plan restored late come first."""
        for operation in reversed(self.intended):
            if operation.kind == "setting" and operation.phase == phase:
                with self.result.noting():
                    self._put_back(operation)

    def _put_back(self, operation: Operation) -> None:
        now = normalise(read_value(self.machine, operation.path))
        if now == normalise(operation.before) or self._kernels(operation):
            return
        ours = now == normalise(operation.after) or self._chosen(operation.path)
        if ours or self.overwrite:
            self.do(operation.inverse)
        else:
            self.result.leave(
                f"`{operation.path}` is neither what it was nor what was written: it is left as it is"
            )

    def _kernels(self, operation: Operation) -> bool:
        """Return whether the kernel itself sets this, once its advisor is on again."""
        modes = [each.before for each in self.intended if each.path == ADVISOR]
        modes.append(read_or(self.machine, ADVISOR))
        return operation.path == PAGES and any(map(paced, modes))

    def _chosen(self, path: str) -> bool:
        """Return whether the kernel itself has written this: a module's region that it chose."""
        module = module_of(path)
        takes = (each for each in self.intended if module_of(each.path) == module)
        return path.endswith(REGION) and any(
            each.kind == "inputs" or each.starts_module for each in takes
        )

    def hand_over(self) -> None:
        """Take back the regions that the kernel has chosen, and hand the rest over again."""
        written = {each.path for each in self.intended if each.kind == "setting"}
        for path, before in self.before.settings.items():
            if path in written or not self._chosen(path):
                continue
            with self.result.noting():
                now = read_value(self.machine, path)
                if now != before:
                    self.do(Operation("setting", "settings", path, now, before))
        for operation in self.intended:
            if operation.kind == "inputs":
                with self.result.noting():
                    self._hand_over(operation)

    def _hand_over(self, operation: Operation) -> None:
        module = module_of(operation.path)
        switch = parameter_path(module, "enabled")
        if read_value(self.machine, switch) == "Y":
            self.do(replace(operation, before="N", after="Y"))
        elif self.do(Operation("setting", "modules", switch, "N", "Y")):
            self.result.remark(f"{module} was started again: its results are lost")

    def compare(self) -> None:
        """Verify: note the settings that are not restored."""
        first: dict[str, Operation] = {}
        for operation in self.intended:
            if operation.kind == "setting" and not self._kernels(operation):
                first.setdefault(operation.path, operation)
        for path, operation in first.items():
            with self.result.noting():
                content = read_value(self.machine, path)
                if normalise(content) != normalise(operation.before):
                    self.result.problems.append(f"`{path}` holds `{content}`")
