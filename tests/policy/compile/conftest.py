"""What the tests of the compiler share."""

from __future__ import annotations

import pytest

from damonpolicy.policy.compile import cache
from tests.policy.compile.kept import Kept


@pytest.fixture
def kept(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.OFF)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Kept(tmp_path / "cache/damonpolicy")
    monkeypatch.setattr(cache, "compile_given", made.counted)
    return made
