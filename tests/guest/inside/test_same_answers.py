"""The emulated kernel answers as the real one does, operation by operation, file by file.

Every difference is a defect of the emulated kernel, or of what we know of real ones.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from damonpolicy.emulated.machine import versions

from .answers import compare
from .players import emulated, real
from .recorded import CHOSEN, explain, load, replay
from .script import SCENES

SERIES = ".".join(platform.release().split(".")[:2])

pytestmark = pytest.mark.skipif(SERIES not in versions(), reason=f"there is no emulated {SERIES}")


def test_the_emulated_kernel_answers_as_the_real_one() -> None:
    """In scenes that were thought out."""
    with real() as (player, sleepers):
        mismatches = compare(player, emulated(SERIES, sleepers.pids), SCENES)

    assert not mismatches, "\n".join(mismatches)


def test_so_it_does_in_sequences_made_by_chance() -> None:
    """Always the same ones; `python -m tests.guest.differential` plays many more."""
    lines = Path(os.environ["DAMONPOLICY_RECORDS"]).read_text("utf-8").splitlines()
    assert len(lines) == len(CHOSEN)
    with real() as (player, sleepers):
        mismatches = list(replay(player, sleepers, map(load, lines)))

    assert not mismatches, "\n".join(line for each in mismatches for line in explain(SERIES, each))
