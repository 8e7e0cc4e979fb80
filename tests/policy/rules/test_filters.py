"""Valid orders of filters."""

from __future__ import annotations

import json

import pytest

from damonpolicy.policy.reading.read import read_policy
from damonpolicy.policy.rules.filters import check
from damonpolicy.policy.source.nodes import plain
from damonpolicy.policy.source.yaml import parse

ADDR = {"addr": {"start": "1MiB", "end": "2MiB"}}
VMS = {"memcg": "/machine.slice"}
ONE = {"memcg": {"path": "/machine.slice", "subtree": False}}


def found(*filters, ops="paddr", action="stat", text=""):
    """Return the codes for a list of filters, which may be a text as it stands in a policy."""
    text = text or json.dumps([{verb: what} for verb, what in filters])
    scheme = f"{{name: s, action: {action}, filters: {text}}}"
    kdamond = f"{{name: k, ops: {ops}, schemes: [{scheme}]}}"
    top, _ = parse("p.yaml", f"{{version: 1, name: p, kdamonds: [{kdamond}]}}")
    read, errors = read_policy(*plain(top))
    assert not errors
    each = read.policy.kdamonds[0]
    at = read.cursor("kdamonds", 0, "schemes", 0)
    return [one.code for one in check(each.schemes[0], each, at)]


@pytest.mark.parametrize(
    "filters",
    [
        [],
        [("reject", ADDR), ("reject", "anon")],
        [("allow", ADDR), ("reject", {"target": 0})],
        [("reject", "anon"), ("reject", ADDR)],
        [("reject", "anon"), ("reject", ADDR), ("allow", "young")],
        [("reject", {"not": "anon"}), ("allow", VMS)],
        [("reject", "anon"), ("reject", {"not": VMS})],
        [("reject", {"not": ONE}), ("allow", "anon")],
    ],
)
def test_orders_that_mean_what_they_say(filters):
    assert found(*filters) == []


@pytest.mark.parametrize(
    ("filters", "codes"),
    [
        ([("allow", "anon"), ("reject", ADDR)], ["DP0214"]),
        ([("reject", "anon"), ("allow", ADDR)], ["DP0214"]),
        ([("reject", "anon"), ("reject", "young"), ("allow", {"target": 0})], ["DP0214"]),
        ([("reject", {"not": VMS}), ("allow", "anon")], ["DP0251"]),
        ([("allow", {"not": VMS}), ("reject", "anon")], ["DP0251", "DP0248"]),
        ([("allow", "anon"), ("reject", "young")], ["DP0248"]),
        ([("allow", "anon"), ("reject", {"not": "young"})], ["DP0248"]),
        ([("reject", {"target": 1})], ["DP0235"]),
    ],
)
def test_orders_that_do_not(filters, codes):
    assert found(*filters) == codes


def test_targets_of_processes_may_be_any():
    assert found(("reject", {"target": 7}), ops="vaddr", action="cold") == []


def test_a_scheme_that_does_nothing_is_not_blamed_for_its_filters():
    assert found(("reject", "anon"), ops="vaddr", action="lru_prio") == []
    assert found(("reject", "anon"), ops="vaddr", action="cold") == ["DP0213"]
