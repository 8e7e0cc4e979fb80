"""Each rule ends by itself at a value that could not be read."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

from damonpolicy.policy import rules
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.scalars import Unread
from damonpolicy.policy.rules.rule import label, readable, rule
from damonpolicy.policy.source.nodes import Hole

MODULES = [
    importlib.import_module(f"{rules.__name__}.{each.name}")
    for each in pkgutil.iter_modules(rules.__path__)
]


@pytest.mark.parametrize("module", MODULES, ids=lambda each: each.__name__.rpartition(".")[2])
def test_every_rule_is_one(module):
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__:
            annotation = str(inspect.signature(function).return_annotation)
            assert hasattr(function, "__wrapped__") is (annotation == "Findings"), name


def kdamond(**fields):
    return Kdamond.model_validate({"name": "k", "ops": "paddr", **fields})


def test_a_rule_ends_at_a_hole_and_says_what_it_has_said():
    @rule
    def speaks(each):
        yield "before"
        yield each.ops

    assert list(speaks(kdamond())) == ["before", "paddr"]
    assert list(speaks(kdamond(ops=Hole.WRONG))) == ["before"]


def test_a_hole_is_no_default():
    wrong, missing = kdamond(intervals=Hole.WRONG), kdamond(name=Hole.MISSING)

    with pytest.raises(Unread):
        assert wrong.intervals
    assert (wrong.known("intervals", 5), missing.known("name")) == (5, None)
    assert ("intervals" in wrong.model_fields_set, "name" in missing.model_fields_set) == (
        True,
        False,
    )
    assert [index for index, _ in readable([wrong, missing], "intervals")] == [1]
    assert label("the kdamond", lambda: wrong.name) == "the kdamond `k`"
    assert label("the kdamond", lambda: missing.name) == "the kdamond"
