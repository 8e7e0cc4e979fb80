"""A machine on which one read or write fails."""

from __future__ import annotations


class Faulty:
    """Passes everything on, but for the call of number `at`, which raises."""

    CALLS = ("read", "read_bytes", "write", "scan", "resolve", "mode")

    def __init__(self, machine, below=("",)):
        self.machine, self.below = machine, below
        self.at, self.error, self.calls = -1, None, 0

    def arm(self, at, error):
        """Let one call fail, counted from now on; -1 is none."""
        self.at, self.error, self.calls = at, error, 0

    def _called(self, path):
        if not path.startswith(self.below):
            return False
        self.calls += 1
        return self.calls - 1 == self.at

    def exists(self, path):
        """As of the real machine: what cannot be looked at is not there."""
        return not self._called(path) and self.machine.exists(path)

    def __getattr__(self, name):
        inner = getattr(self.machine, name)
        if name not in self.CALLS:
            return inner

        def call(path, *rest):
            if self._called(path):
                raise self.error
            return inner(path, *rest)

        return call
