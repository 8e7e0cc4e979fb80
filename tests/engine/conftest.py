from __future__ import annotations

import pytest

from tests.engine.site import Site
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
