"""No key of the policy language is taken and then does nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.policy.model.audit import table

TABLE = Path(__file__).with_name("audit.txt")


@pytest.fixture(scope="module")
def lines():
    return list(table())


def test_every_value_of_every_key_is_effective_warned_of_or_refused(lines):
    assert [line for line in lines if "NOTHING" in line] == []


def test_what_becomes_of_each_value_is_as_it_was(lines):
    text = "".join(f"{line}\n" for line in lines)
    if os.environ.get("DAMONPOLICY_UPDATE_GOLDEN"):
        TABLE.write_text(text)
    assert TABLE.read_text() == text
