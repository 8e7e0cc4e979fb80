"""Variables, ``for_each`` and templates on nodes."""

from __future__ import annotations

from damonpolicy.policy.source.expand import expand, variables
from damonpolicy.policy.source.nodes import Hole, plain
from damonpolicy.policy.source.yaml import parse


def expanded(text, overrides=None, online=(0, 1)):
    top, found = parse("p.yaml", text)
    assert not found
    values, wrong = variables(top, overrides or {})
    result = expand(top, values, online)
    return plain(result.top)[0], [*wrong, *result.found]


def test_each_variable_may_use_those_before_it_and_overrides_win():
    text = 'vars: {a: 1, b: "{{ a }}2", c: "{{ b }}3"}\nname: "{{ a }}-{{ b }}-{{ c }}"\n'

    assert expanded(text)[0] == {"name": "1-12-123"}
    assert expanded(text, {"b": "x"})[0] == {"name": "1-x-x3"}


def test_variables_of_the_command_line_need_a_declaration():
    data, found = expanded('name: "{{ a }}"\n', {"a": "1"})

    assert [each.code for each in found] == ["DP0021"]
    assert data == {"name": Hole.WRONG}


def test_a_variable_that_is_wrong_is_said_once_and_what_uses_it_is_a_hole():
    text = 'vars: {a: "{{ 1 / 0 }}", b: "{{ a }}1", c: 5}\nx: "{{ b }}s"\ny: "{{ c }}s"\n'
    data, found = expanded(text)

    assert [each.code for each in found] == ["DP0023"]
    assert data == {"x": Hole.WRONG, "y": "5s"}


def test_for_each_repeats_in_order_and_nests():
    data, found = expanded(
        """\
kdamonds:
  - for_each: {node: all}
    name: "n{{ node }}"
    schemes:
      - for_each: {age: [5, "{{ node }}"]}
        name: "{{ node }}-{{ age }}"
      - {name: plain}
  - {name: last}
"""
    )

    assert found == []
    assert data == {
        "kdamonds": [
            {"name": "n0", "schemes": [{"name": "0-5"}, {"name": "0-0"}, {"name": "plain"}]},
            {"name": "n1", "schemes": [{"name": "1-5"}, {"name": "1-1"}, {"name": "plain"}]},
            {"name": "last"},
        ]
    }


def test_for_each_over_mappings():
    data, _ = expanded(
        """\
kdamonds:
  - for_each: {it: [{name: a, size: 1}, {name: b, size: 2}]}
    name: "{{ it.name }}{{ it.size }}"
"""
    )

    assert [each["name"] for each in data["kdamonds"]] == ["a1", "b2"]


def test_for_each_elsewhere_is_left_for_the_model_to_refuse():
    data, found = expanded("targets: [{for_each: {a: [1]}, numa_node: 0}]\n")

    assert (data, found) == ({"targets": [{"for_each": {"a": ["1"]}, "numa_node": "0"}]}, [])


def test_a_wrong_for_each_takes_only_what_uses_its_variable_away():
    text = 'kdamonds: [{for_each: {a: 5}, name: "x{{ a }}", ops: paddr}, {name: y}]\n'
    data, found = expanded(text)

    assert data == {"kdamonds": [{"name": Hole.WRONG, "ops": "paddr"}, {"name": "y"}]}
    assert [each.code for each in found] == ["DP0030"]


def test_an_option_that_cannot_be_rendered_is_said_once():
    _, found = expanded('kdamonds: [{for_each: {a: ["{{ b }}", 1]}, name: x}]\n')

    assert [each.code for each in found] == ["DP0021"]
