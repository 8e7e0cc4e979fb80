from __future__ import annotations

import pytest

from tests.engine.site import Site, starting
from tests.world import World


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
