from __future__ import annotations

import os
from pathlib import Path

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import recover
from tests.engine.site import Site, starting
from tests.world import World

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@pytest.fixture
def site(monkeypatch):
    """A durable emulated machine of the newest kernel, and the command line on it."""
    monkeypatch.setenv("NO_COLOR", "1")
    made = Site()
    yield made
    made.close()


@pytest.fixture
def newest():
    """A machine of the newest kernel, without a command line."""
    made = World.make("7.3")
    yield made
    made.close()


@pytest.fixture
def crashed(site):
    """The first apply of ksm.yaml was killed right before its kdamond was started."""
    site.before = site.world.look()
    site.killed(starting, "ksm")
    return site


@pytest.fixture
def disk(monkeypatch):
    """Directories in which nothing can be made, written, renamed or removed, and why."""
    broken: dict[Path, int] = {}

    def check(path):
        for directory, code in broken.items():
            if Path(os.fsdecode(path)).is_relative_to(directory):
                raise OSError(code, os.strerror(code), str(path))

    def wrap(name, which=0):
        real = getattr(os, name)

        def wrapped(*arguments, **options):
            path = arguments[which]
            if options.get("dir_fd") is not None:
                path = os.path.join(os.readlink(f"/proc/self/fd/{options['dir_fd']}"), path)
            if name != "open" or arguments[1] & WRITING:
                check(path)
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, wrapped)

    for name, which in (("open", 0), ("replace", 1), ("rename", 1), ("unlink", 0)):
        wrap(name, which)
    yield broken
    broken.clear()


@pytest.fixture
def clock(monkeypatch):
    """The machine's clock can be put forward, and a sleeping guard puts it forward."""
    ahead = [0.0]
    real = EmulatedMachine.monotonic
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda self: real(self) + ahead[0])

    def pass_by(seconds):
        ahead[0] += seconds

    monkeypatch.setattr(recover.time, "sleep", pass_by)
    return pass_by


@pytest.fixture
def guards(monkeypatch):
    """No guard is started, but its command line is kept, with how much was written before."""
    started = []

    def start(machine, generation, deadline, options):
        started.append((generation, deadline, list(options), len(machine.log)))

    monkeypatch.setattr("damonpolicy.cli.options.confirmation.start_guard", start)
    return started
