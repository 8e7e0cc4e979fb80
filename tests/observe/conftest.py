from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from tests.engine.site import Site


@pytest.fixture
def site(monkeypatch):
    """A durable emulated machine of the newest kernel, and the command line on it."""
    monkeypatch.setenv("NO_COLOR", "1")
    made = Site()
    yield made
    made.close()


class Clock:
    """Seconds of emulated machines, which pass only while somebody sleeps."""

    def __init__(self, now):
        self.now = now

    def sleep(self, seconds):
        self.now += max(seconds, 0.0)


@pytest.fixture
def clock(site, monkeypatch):
    """The site's clock: no test waits for it."""
    made = Clock(site.machine.monotonic())
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda self: made.now)
    monkeypatch.setattr(EmulatedMachine, "sleep", lambda self, seconds: made.sleep(seconds))
    return made
