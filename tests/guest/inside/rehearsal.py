"""An emulated machine that can try what it does, and say what would wreck a real kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.emulated.store import Memory

__all__ = ("RehearsingMachine",)


class RehearsingMachine(EmulatedMachine):
    """A machine whose changes can be reverted."""

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Revert everything done in the block: files, processes, time, poison and the log."""
        with self._mutex, self._store.locked():
            self._refresh()
            # a fifth of deepcopy's time; a machine is stored like this, too
            kept = json.dumps(self._world.state), self._store, self._slept, self._count
            hooks, self.before_write, self.after_write = (
                (self.before_write, self.after_write), None, None,
            )  # fmt: skip
            self._store = Memory()
            try:
                yield
            finally:
                self._world.state.clear()
                state, self._store, self._slept, self._count = kept
                self._world.state.update(json.loads(state))
                self.before_write, self.after_write = hooks

    def would_wreck(self, path: str, text: str) -> str:
        """Return how a write would wreck a real kernel, without doing it; empty if it would not."""
        with self.rehearsal():
            with suppress(OSError):
                self.write(path, text)
            reason: str = self._world.state["poison"]
        return reason
