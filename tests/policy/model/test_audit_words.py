"""No word, ratio, goal or parameter of a module is taken and then does nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.policy.model.audit_words import table

TABLE = Path(__file__).with_name("audit_words.txt")


@pytest.fixture(scope="module")
def lines():
    return list(table())


def test_every_word_is_effective_warned_of_or_refused(lines):
    assert [line for line in lines if "NOTHING" in line] == []


def test_what_the_kernel_cannot_hold_is_refused(lines):
    beyond = [line for line in lines if line[48:].startswith("beyond") and "user_input" not in line]
    effective = [line for line in beyond if "effective" in line]
    assert [line for line in effective if "some_mem_psi_us" not in line] == []


def test_what_becomes_of_each_word_is_as_it_was(lines):
    text = "".join(f"{line}\n" for line in lines)
    if os.environ.get("DAMONPOLICY_UPDATE_GOLDEN"):
        TABLE.write_text(text)
    assert TABLE.read_text() == text
