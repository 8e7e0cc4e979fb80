"""What the parts of an undo share, and its result."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

from damonpolicy.base.errors import system_error
from damonpolicy.engine.execute import OperationFailed, longest_hold, patience, perform
from damonpolicy.engine.journal import Thread, Unwritten
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.online import pids
from damonpolicy.plan.state import Managed

__all__ = ("Undoing", "Undone", "put_right")


_PAUSE = 0.05


class Undone:
    """The result of an undo: its problems, and what it lost."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.theirs = False
        """Whether a problem is another's write, so that it could be overwritten."""
        self.waited = False
        """Whether a problem outlasted its wait, so that it is not tried again."""
        self.remarks: list[str] = []
        self.restarted: dict[int, Thread] = {}
        """Threads of kdamonds that were started again, by slot."""
        self.living: dict[int, Tree] = {}
        """Trees handed to the kernel without ended processes, by slot."""

    def begin(self) -> None:
        """Forget the problems of an earlier pass."""
        self.problems.clear()
        self.theirs = self.waited = False

    def leave(self, text: str) -> None:
        """Note a file of someone else's that is left as it is."""
        self.problems.append(text)
        self.theirs = True

    def remark(self, text: str) -> None:
        """Note a loss, once."""
        if text not in self.remarks:
            self.remarks.append(text)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note a failed read or write of the block, and go on after it."""
        try:
            yield
        except OSError as error:
            self.failed(error)

    def failed(self, error: OSError | OperationFailed) -> None:
        """Note a failed read or write."""
        self.waited = self.waited or error.errno in (errno.EBUSY, errno.ETIMEDOUT)
        self.problems.append(
            str(error if isinstance(error, OperationFailed) else system_error(error))
        )


class _Patient:
    """A machine whose reads are tried again while someone else holds DAMON's lock."""

    def __init__(self, machine: Machine, seconds: float) -> None:
        self._machine = machine
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._machine, name)
        return partial(self._asked, found) if name in ("read", "read_bytes") else found

    def _asked(self, ask: Callable[[str], Any], path: str) -> Any:
        end = self._machine.monotonic() + self._seconds
        while True:
            try:
                return ask(path)
            except OSError as error:
                if error.errno != errno.EBUSY or self._machine.monotonic() >= end:
                    raise
            self._machine.sleep(_PAUSE)


class Undoing:
    """What the parts of an undo share: the machine, the journal, the result."""

    def __init__(
        self, machine: Machine, journal: Unwritten, result: Undone, *, overwrite: bool
    ) -> None:
        self.journal = journal
        self.header = journal.header
        self.before = journal.header.before
        self.managed = journal.header.managed
        self.progress = journal.progress
        self.overwrite = overwrite
        self.result = result
        self.hold = longest_hold(self.header)
        """The seconds for which someone else may hold DAMON's lock."""
        self.machine = cast("Machine", _Patient(machine, self.hold))
        self.intended = [
            operation
            for index, operation in enumerate(self.header.operations)
            if index in self.progress.intents or (overwrite and operation.kind == "setting")
        ]

    def do(self, operation: Operation) -> bool:
        """Do one operation; a failure is noted as a problem."""
        try:
            self.attempt(operation)
        except OperationFailed as error:
            self.result.failed(error)
            return False
        return True

    def attempt(self, operation: Operation) -> None:
        """Do one operation; raises OperationFailed."""
        seconds = patience(self.machine, operation, self.header)
        perform(self.machine, operation, seconds, lock=self.hold)


def put_right(managed: Managed, undone: Undone) -> Managed:
    """Return the managed set after an undo: as before, except new threads and ended processes."""
    slots = {}
    for slot, record in managed.slots.items():
        pid, start = undone.restarted.get(slot, record.thread)
        if slot in undone.living:
            files = undone.living[slot]
            left = pids(files)
            members = tuple(member for member in record.members if str(member[0]) in left)
            record = replace(record, files=files, members=members)  # noqa: PLW2901
        slots[slot] = replace(record, pid=pid, start=start)
    return replace(managed, slots=slots)
