"""The cost of an expression is checked before its evaluation."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from damonpolicy.base import limits
from damonpolicy.base.diagnostics import Span
from damonpolicy.policy.source.expression import FILTERS, TESTS
from damonpolicy.policy.source.nodes import Scalar
from damonpolicy.policy.source.template import TemplateError, Templates
from tests.world import ROOT

LONG = "x" * 4_000
VALUES = {"x": "5", "long": LONG, "node": {"name": "n0", "list": ["a", "b"]}}


def text(template):
    return Templates().render(Scalar(template, Span("f", 1, 1, 1, 2)), VALUES).text


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 2.5 | round }}", "2.0"),
        ("{{ 2.345 | round(2) }}", "2.35"),
        ("{{ 2.1 | round(0, 'ceil') }}", "3.0"),
        ("{{ 2.19 | round(1, 'floor') }}", "2.1"),
        ("{{ '0x1f' | int(0, 16) }}", "31"),
        ("{{ '1.5' | int }}", "1"),
        ("{{ 'abc' | int(7) }}", "7"),
        ("{{ 'abc' | float }}", "0.0"),
        ("{{ x | float }}", "5.0"),
        ("{{ '  a ' | trim }}{{ '--a' | trim('-') }}", "aa"),
        ("{{ x | length }}{{ x | upper }}{{ 'A' | lower }}", "15a"),
        ("{{ -(x | int) | abs }}{{ +3 }}", "53"),
        ("{{ 1 < 2 <= 2 and not 3 == 4 }}", "True"),
        ("{{ 'a' in node.list or false }}{{ 'c' not in node.list }}", "TrueTrue"),
        ("{{ node['name'] }}{{ node.list[1] }}{{ x[0] }}", "n0b5"),
        ("{{ y is undefined }}{{ node.z | d('w') }}", "Truew"),
        ("{{ none }}{{ 7 % 4 }}{{ 7 / 2 }}{{ 7 - 2 }}", "None33.55"),
        ("a{# a comment #}b", "ab"),
    ],
)
def test_values_are_those_of_jinja2(template, expected):
    assert text(template) == expected


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{ 1 | round(-100000000) }}", "DP0023"),
        ("{{ 1 | round(-100000000, 'ceil') }}", "DP0023"),
        ("{{ 1 | round(-100000000, 'floor') }}", "DP0023"),
        ("{{ 1 | round(100000000) }}", "DP0023"),
        ("{{ 1.5 | round(1, 'common' ~ long) }}", "DP0023"),
        ("{{ x" + "|int" * 198 + " }}", "DP0022"),
        ("{{ " + " + ".join("1" * 200) + " }}", "DP0022"),
        ("{{ " + "~".join("1" * 490) + " }}", "DP0024"),
        ("{{ long | replace('x', long) }}", "DP0024"),
        ("{{ " + " ~ ".join(["long"] * 100) + " }}", "DP0024"),
        ("{{ long }}" * 90, "DP0024"),
        ("{{ long + long }}", "DP0024"),
        ("{{ long | replace('x', '') | length * 9 ** 9 }}", "DP0022"),
        ("{{ 1e308 | int }}", "DP0024"),
        ("{{ 1 | int(0, 99) }}", "DP0023"),
        ("{{ long | int(0, 1.0) }}", "DP0023"),
        ('{{ "\\ud800" }}', "DP0022"),
        ("{{ node }}", "DP0023"),
        ("{{ node.list }}", "DP0023"),
        ("{{ 5 | length }}", "DP0023"),
        ("{{ node[node] }}", "DP0023"),
        ("{{ node[1.5] }}", "DP0021"),
        ("{{ 5 in 5 }}", "DP0023"),
        ("{{ 'a' < 1 }}", "DP0023"),
        ("{{ x | round }}", "DP0023"),
        ("{{ x | replace('a') }}", "DP0022"),
        ("{{ 1 if false }}", "DP0021"),
        ("{{ y | int }}", "DP0021"),
        ("{{ y == 1 }}", "DP0021"),
        ("{{ x[9] }}", "DP0021"),
    ],
)
def test_what_has_no_bounded_value_is_refused_at_once(template, code):
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(TemplateError) as caught:
            text(template)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert caught.value.code == code
    assert peak < 8 << 20
    assert time.process_time() - began < 1


def test_the_page_of_the_language_lists_the_filters_and_tests():
    page = (ROOT / "docs/reference/policy.md").read_text("utf-8")
    for name in (*FILTERS, *TESTS):
        assert f"`{name}" in page


def test_no_template_has_more_parts_than_its_length_allows():
    assert limits.TEMPLATE_STEPS.most < limits.TEMPLATE.most
