"""Known hazards of each kernel, each shown in a guest of its own."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.guest import hazards
from tests.guest.errors import GuestDied
from tests.guest.inside.hazard import HAZARDS, NOT_RUNNABLE, expected
from tests.guest.kernels import KNOWN

EMULATED = Path(__file__).parents[2] / "damonpolicy" / "emulated"
OF_THE_DEVELOPMENT_TREE = ("sample filter",)


@pytest.mark.parametrize("hazard", HAZARDS, ids=lambda each: each.name)
def test_some_kernel_is_wrecked_and_every_one_knows(hazard):
    found = {series: expected(hazard, series) for series in KNOWN}

    assert any(found.values())


def test_every_way_to_poison_is_a_hazard():
    """The reasons that stand in the source are those that are tried."""
    tried = {expected(hazard, series) for hazard in HAZARDS for series in KNOWN} - {""}
    texts = " ".join(
        (EMULATED / name).read_text() for name in ("damon/kdamond.py", "damon/checks.py")
    )
    known = re.findall(r'(?:wreck\(f?|return f?|raise self\.wreck\(f?)"([^"]{25,})', texts)
    assert len(known) > 8

    for reason in known:
        words = re.escape(re.sub(r"\{[^}]*\}", "0", reason)).replace("0", ".*")
        assert any(re.search(words, each) for each in tried) or any(
            each in reason for each in OF_THE_DEVELOPMENT_TREE
        ), reason


class Fake:
    """A guest whose kernel does what a test says."""

    does = staticmethod(lambda: SimpleNamespace(output="", returncode=0))

    def __init__(self, *_, **__):
        pass

    def run(self, *_, **__):
        return self.does()


@pytest.fixture
def guest(monkeypatch):
    monkeypatch.setattr(hazards, "Guest", Fake)
    monkeypatch.setattr(hazards, "kernel", Path)
    return monkeypatch


def died():
    raise GuestDied("6.18", "the guest went down", output="", console="x\nBUG: it was NULL\ny")


def said(text):
    return lambda: SimpleNamespace(output=f"{text}\n", returncode=0)


def test_a_kernel_that_dies_says_how(guest, capsys):
    guest.setattr(Fake, "does", staticmethod(died))

    assert hazards.main(["--name", "goal-start", "6.18"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("goal-start on 6.18: dies: BUG: it was NULL\n")
    assert all(f"not run: {name}, " in out for name in NOT_RUNNABLE)


def test_a_kernel_that_survives_is_not_expected(guest, capsys):
    guest.setattr(Fake, "does", staticmethod(said("unharmed: all is well")))

    assert hazards.main(["--name", "goal-start", "6.18"]) == 1
    assert " -- NOT EXPECTED: a quota goal on node 9" in capsys.readouterr().out


def test_others_are_tried_only_when_asked_for(guest, capsys):
    guest.setattr(Fake, "does", staticmethod(said("hangs: never answers")))

    assert hazards.main(["--name", "goal-start", "7.3"]) == 0
    assert "7.3" not in capsys.readouterr().out
    assert hazards.main(["--name", "goal-start", "--everywhere", "7.3"]) == 1
    assert " -- NOT EXPECTED: it should bear that" in capsys.readouterr().out
