"""A wrapper of a machine that retries reads while someone else holds DAMON's lock."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from damonpolicy.engine.execute import deadline
from damonpolicy.kernel.damon.tree import slot_numbers, slot_tree

if TYPE_CHECKING:
    from damonpolicy.engine.journal import Header
    from damonpolicy.kernel.system.machine import Machine

__all__ = ("deadline_amid", "longest_hold", "patient")

_PAUSE = 0.05
_Answer = TypeVar("_Answer")


def deadline_amid(header: Header, slot: int) -> float:
    """Return the seconds that a command may take, by a slot's old and new intervals."""
    return max(map(deadline, (slot_tree(header.before.tree, slot), header.after.get(slot, {}))))


def longest_hold(header: Header) -> float:
    """Return the seconds for which anybody may hold the kernel's one lock during a transaction.

    A command holds it while it waits for its kdamond (mm/damon/sysfs.c: damon_sysfs_lock), so the
    longest interval of any kdamond decides, including someone else's.
    """
    slots = {*slot_numbers(header.before.tree), *header.after}
    return max((deadline_amid(header, slot) for slot in slots), default=deadline({}))


def patient(machine: Machine, seconds: float) -> Machine:
    """Return the same machine with reads of busy files retried for that many seconds."""
    return cast("Machine", _Patient(machine, seconds))


class _Patient:
    def __init__(self, machine: Machine, seconds: float) -> None:
        self._machine = machine
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def read(self, path: str) -> str:
        return self._asked(lambda: self._machine.read(path))

    def read_bytes(self, path: str) -> bytes:
        return self._asked(lambda: self._machine.read_bytes(path))

    def _asked(self, ask: Callable[[], _Answer]) -> _Answer:
        end = self._machine.monotonic() + self._seconds
        while True:
            try:
                return ask()
            except OSError as error:
                if error.errno != errno.EBUSY or self._machine.monotonic() >= end:
                    raise
            self._machine.sleep(_PAUSE)
