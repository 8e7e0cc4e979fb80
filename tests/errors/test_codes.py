"""Every code that a user may meet is met by a test."""

from __future__ import annotations

import re
from pathlib import Path

from damonpolicy.base.errors import DamonPolicyError
from tests.world import ROOT

CODE = re.compile(r'"(DP\d{4})"')


def codes(paths):
    return {code for path in paths for code in CODE.findall(path.read_text())}


def by_exit_code():
    """Codes that stand for an exit code: the exit codes' own test reaches each of them."""
    return {each.code for each in (DamonPolicyError, *DamonPolicyError.__subclasses__())} | {
        "DP0599"
    }


def test_every_code_is_reached():
    raised = codes((ROOT / "damonpolicy").rglob("*.py"))
    cases = codes(Path(__file__).parent.glob("*/expect.toml"))
    elsewhere = {
        code
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__)
        for code in re.findall(r"DP\d{4}", path.read_text())
    }

    assert len(raised) > 80
    assert raised - cases - elsewhere - by_exit_code() == set()


def test_cases_expect_codes_that_are_raised():
    raised = codes((ROOT / "damonpolicy").rglob("*.py"))

    assert codes(Path(__file__).parent.glob("*/expect.toml")) <= raised
