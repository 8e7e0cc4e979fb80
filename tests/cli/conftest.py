from __future__ import annotations

from dataclasses import dataclass

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


@dataclass
class Clock:
    """Seconds of emulated machines, which pass only in sleeps."""

    now: float

    def sleep(self, seconds):
        self.now += max(seconds, 0.0)


@pytest.fixture
def clock(site, monkeypatch):
    """The site's clock: nothing that is slow for the tests' machine takes time on it."""
    made = Clock(site.machine.monotonic())
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda self: made.now)
    monkeypatch.setattr(EmulatedMachine, "sleep", lambda self, seconds: made.sleep(seconds))
    return made
