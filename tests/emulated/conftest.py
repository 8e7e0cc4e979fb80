"""Helpers for tests of the emulated machine."""

from __future__ import annotations

import errno

import pytest

from damonpolicy.emulated.machine import EmulatedMachine, versions
from damonpolicy.kernel.system.machine import KDAMONDS

COMPARED = ("6.12", "6.18", "7.3")
"""Every answer that tests of behaviour expect was seen on these; tests/guest compares the rest."""
STAT = "/sys/module/damon_stat/parameters/enabled"


class Kernel:
    """An emulated machine, with paths below the kdamonds directory and answers as words."""

    def __init__(self, machine: EmulatedMachine) -> None:
        self.machine = machine
        self.pid = 811

    def path(self, path):
        return path if path.startswith("/") else f"{KDAMONDS}/{path}"

    def write(self, path, text):
        """Write, and return ``ok`` or the name of the errno."""
        try:
            self.machine.write(self.path(path), str(text))
        except OSError as error:
            return errno.errorcode[error.errno]
        return "ok"

    def read(self, path):
        try:
            return self.machine.read(self.path(path)).removesuffix("\n")
        except OSError as error:
            return errno.errorcode[error.errno]

    def command(self, command, slot=0):
        return self.write(f"{slot}/state", command)

    def state(self, slot=0):
        return self.read(f"{slot}/state")

    def writes(self, *pairs):
        return [self.write(path, text) for path, text in pairs]

    def context(self, operations="vaddr", *, slot=0, targets=1, schemes=1, pid=None):
        """Make a context whose schemes try everything; module kdamonds are out of the way."""
        here = f"{slot}/contexts/0"
        self.write(STAT, "N")
        done = self.writes(
            (f"{slot}/contexts/nr_contexts", 1),
            (f"{here}/operations", operations),
            (f"{here}/targets/nr_targets", targets),
            *(
                (f"{here}/targets/{number}/pid_target", pid or self.pid)
                for number in range(targets)
                if operations != "paddr"
            ),
            (f"{here}/schemes/nr_schemes", schemes),
            *(
                (f"{here}/schemes/{number}/access_pattern/{name}/max", (1 << 32) - 1)
                for number in range(schemes)
                for name in ("sz", "nr_accesses", "age")
            ),
        )
        assert set(done) == {"ok"}
        return self

    def region(self, start, end):
        """Give target 0 one region."""
        here = "0/contexts/0/targets/0/regions"
        return self.writes(
            (f"{here}/nr_regions", 1), (f"{here}/0/start", start), (f"{here}/0/end", end)
        )


def make(version="7.3", **more):
    kernel = Kernel(EmulatedMachine.create(version, **more))
    kernel.write("nr_kdamonds", 1)
    return kernel


@pytest.fixture(params=COMPARED)
def every(request):
    """A kernel of each version whose behaviour the tests know, with one kdamond directory."""
    return make(request.param)


@pytest.fixture(params=versions())
def each(request):
    """A kernel of each version that can be emulated, with one kdamond directory."""
    return make(request.param)


@pytest.fixture
def kernel():
    """The newest kernel."""
    return make()


@pytest.fixture
def making():
    """A function that makes a kernel of a version."""
    return make
