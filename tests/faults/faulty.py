"""A machine on which the kernel's answers go wrong: between the product and an emulated one."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass

from damonpolicy.kernel.system.machine import KDAMONDS

_PROCESS = re.compile(r"read /proc/\d+/")

READS = (errno.EIO, errno.EBUSY, errno.ENOMEM, errno.EINTR)
WRITES = (errno.EIO, errno.EINVAL, errno.ENOMEM, errno.EBUSY, errno.EPERM, errno.EINTR)

KINDS = ("error", "after", "ignored", "dies", "lock")
"""An error without effect; one behind the effect; no effect and no error; a kdamond ends by itself;
somebody holds DAMON's lock for a while."""

LOCKED = 20.0
"""Seconds for which the lock is held, unless a machine says otherwise: longer than anything waits
that may give up, shorter than what an undo has to wait."""

TRUSTED = ("commit", "commit_inputs")
"""Commands that, ignored, read back as if they had worked; the effect matrix covers them."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at the ``at``-th call (reads, listings and writes, from 1)."""

    at: int
    kind: str
    code: int = errno.EIO


class FaultyMachine:
    """Counts the calls of the protocol that may fail, and lets some of them go wrong."""

    def __init__(self, machine, faults=(), locked=LOCKED):
        self.machine = machine
        self.faults = {fault.at: fault for fault in faults}
        self.calls: list[str] = []
        self.hit: list[Fault] = []
        self.locked, self.locked_until = locked, 0.0
        self.died: tuple[int, int] | None = None
        """The slot whose kdamond has ended, and the number of calls until then."""

    @property
    def died_unseen(self):
        """Whether a kdamond ended after the last read of its state, which nothing can notice."""
        if self.died is None:
            return False
        slot, at = self.died
        return f"read {KDAMONDS}/{slot}/state" not in self.calls[at - 1 :]

    @property
    def blind(self):
        """Whether something of a process could not be read: an unknown process is not chosen."""
        return any(_PROCESS.search(self.calls[fault.at - 1]) for fault in self.hit)

    def __getattr__(self, name):
        return getattr(self.machine, name)

    def read(self, path):
        return self._ask(path, lambda: self.machine.read(path))

    def read_bytes(self, path):
        return self._ask(path, lambda: self.machine.read_bytes(path))

    def scan(self, path):
        return self._ask(path, lambda: self.machine.scan(path), "list")

    def write(self, path, text):
        fault = self._next(f"write {path} {text}", path)
        kind = fault.kind if fault else ""
        if kind == "ignored" and text not in TRUSTED and not path.endswith(TRUSTED):
            return
        if kind in ("error", "ignored"):
            raise OSError(fault.code, os.strerror(fault.code), path)
        self.machine.write(path, text)
        if kind == "after":
            raise OSError(fault.code, os.strerror(fault.code), path)

    def _ask(self, path, answer, word="read"):
        fault = self._next(f"{word} {path}", path)
        if fault and fault.kind in ("error", "after", "ignored"):
            raise OSError(fault.code, os.strerror(fault.code), path)
        return answer()

    def _next(self, call, path):
        """Count a call; return the fault that is for it, after what happens beside it."""
        self.calls.append(call)
        fault = self.faults.get(len(self.calls))
        if fault:
            self.hit.append(fault)
            if fault.kind == "dies":
                self._die()
            elif fault.kind == "lock":
                self.locked_until = self.machine.monotonic() + self.locked
        held = self.machine.monotonic() < self.locked_until  # listing a directory takes no lock
        if held and path.startswith(KDAMONDS) and not call.startswith("list"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        return fault

    def _die(self):
        """End the first kdamond that runs, as it ends by itself without targets."""
        for slot in range(int(self.machine.read(f"{KDAMONDS}/nr_kdamonds"))):
            if self.machine.running(slot) is not None:
                self.machine.write(f"{KDAMONDS}/{slot}/state", "off")
                self.died = slot, len(self.calls)
                return
