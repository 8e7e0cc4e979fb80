"""Processes that start and end beside the service, in short; `python -m tests.guest.churn` does it at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from .churn import churned


@pytest.mark.long
def test_the_service_lives_with_whoever_starts_and_ends_and_joins_them(tmp_path: Path) -> None:
    """As many a second as an emulated guest bears beside other load."""
    found = churned(tmp_path, 3.0, 40.0)

    assert found.alive, found.log[-2000:]
    assert found.wrong == []
    assert found.jobs == []
    assert found.share >= 0.9, str(found)
