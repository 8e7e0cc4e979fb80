"""The one error tree, the one table of exit codes, and events."""

from __future__ import annotations

import re

import pytest

from damonpolicy.base import errors, log
from damonpolicy.base.errors import DamonPolicyError, ExitCode

TREE = [
    each
    for each in vars(errors).values()
    if isinstance(each, type)
    and issubclass(each, DamonPolicyError)
    and not each.__name__.startswith("_")  # a defect of ours is no error of the tree
]
TABLE = {
    0: "OK", 1: "FAILED", 2: "CHANGES", 64: "USAGE", 65: "INVALID", 69: "UNSUPPORTED",
    70: "INTERNAL", 71: "FOREIGN", 72: "STALE", 73: "LOCKED", 75: "BUSY", 77: "NO_PERMISSION",
    80: "ROLLED_BACK", 81: "ROLLBACK_INCOMPLETE", 130: "INTERRUPTED",
}  # fmt: skip


def test_codes_are_a_promise():
    assert {int(code): code.name for code in ExitCode} == TABLE


def test_every_code_has_a_meaning_of_its_own():
    meanings = [code.meaning for code in ExitCode]

    assert len(set(meanings)) == len(ExitCode)
    for meaning in meanings:
        assert meaning[0].islower()
        assert not meaning.endswith(".")


def test_every_error_is_exported_with_a_code_of_its_own():
    assert len(TREE) == 12
    assert {each.__name__ for each in TREE} | {
        "ExitCode",
        "as_root",
        "defect",
        "reason_of",
        "system_error",
    } == set(errors.__all__)
    assert len({each.code for each in TREE}) == len(TREE)
    assert len({each.exit_code for each in TREE}) == len(TREE)
    for each in TREE:
        assert re.fullmatch(r"DP05\d\d", each.code)
        assert each.exit_code not in (ExitCode.OK, ExitCode.CHANGES, ExitCode.INTERNAL)


def test_only_what_may_pass_by_itself_can_be_retried():
    assert {each.__name__ for each in TREE if each.can_retry} == {"LockHeld", "Busy", "Interrupted"}


def test_an_error_carries_its_sentence_hint_and_code():
    error = errors.Busy("it is busy", hint="wait")
    assert (str(error), error.message, error.hint, error.code) == (
        "it is busy", "it is busy", "wait", "DP0507",
    )  # fmt: skip
    assert errors.Busy("x", code="DP0999").code == "DP0999"
    assert errors.Busy.code == "DP0507"
    assert errors.PolicyInvalid().diagnostics == ()


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_events_reach_the_one_sink(monkeypatch, level):
    monkeypatch.setattr(log, "_sinks", [])
    getattr(log, level)("unheard", x=1)
    first, second = [], []
    log.set_sink(lambda *event: first.append(event))
    log.set_sink(lambda *event: second.append(event))
    getattr(log, level)("begin", x=1)

    assert first == []
    assert second == [(level, "begin", {"x": 1})]
