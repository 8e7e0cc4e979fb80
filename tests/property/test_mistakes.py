"""A mutated policy is accepted, or refused at a place in its file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.prepare import prepare
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.plan.show import render
from damonpolicy.plan.state import Managed
from damonpolicy.policy.compile.policies import Overrides, compile_policies, load
from damonpolicy.policy.source.files import SourceFile
from tests.property.strategies import documents

KERNEL = "7.3"
ODD = [
    "", None, True, -1, 0, 1e9, 1 << 70, [], {}, [[]], [None], {"a": None}, {"": {}}, "0", "5", "5s",
    "4KiB", "100%", "anon", "paddr", "stat", "unlimited", "/machine.slice", "{{ x }}", "{{ 1/0 }}",
    "{% for %}", "\u0000", "\ud7ff", "ä" * 300, "*a", "&a", "!!int 5", "0777", "12:30", "1_000", "on",
    "- x", "a: b", "\n", "..", "/../x",
]  # fmt: skip
KEYS = [
    "name",
    "not",
    "optional",
    "when",
    "for_each",
    "memcg",
    "addr",
    "sz",
    "",
    "x" * 100,
    "1",
    "{{ x }}",
]


def places(value, path=()):
    yield path
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in inside:
        yield from places(each, (*path, key))


@st.composite
def spoilt(draw):
    document = json.loads(json.dumps(draw(documents(KERNEL))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([each for each in places(document) if each]))
        node = document
        for key in path[:-1]:
            node = node[key]
        how = draw(st.sampled_from(["value", "key", "drop", "twice"]))
        if how == "drop":
            del node[path[-1]]
        elif how == "key" and isinstance(node, dict):
            node[draw(st.sampled_from(KEYS))] = node.pop(path[-1])
        elif how == "twice" and isinstance(node, list):
            node.append(node[path[-1]])
        else:
            node[path[-1]] = draw(st.sampled_from(ODD))
        document = json.loads(json.dumps(document))
    return json.dumps(document, ensure_ascii=draw(st.booleans()))


@pytest.fixture(scope="module")
def machine():
    return EmulatedMachine.create(KERNEL)


@given(text=spoilt())
def test_it_is_taken_or_refused_at_a_place(text, machine):
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=machine)
    found = list(loaded.found)
    capabilities = detect(machine, retrieve(machine).tree)
    policies, more = compile_policies(loaded, capabilities, machine)
    found += more
    assert not (refused(loaded.found) and policies), "nothing is compiled of what is wrong"

    for each in found:
        assert each.span is not None, each
        assert (each.span.file, each.span.line) == ("p.yaml", 1), each
        assert 0 < each.span.column <= len(text) + 1, each
        assert each.message, each
    if not refused(found):
        try:
            _, plan = prepare(machine, Managed(retrieve(machine).host.boot_id), policies, policies)
        except DamonPolicyError as error:
            assert error.message, "a machine that lacks something is told in a sentence"
        else:
            assert render.render(plan, changes=True)


def refused(found):
    return any(each.severity == "error" for each in found)
