import contextlib
import time

import pytest

from damonpolicy.base.diagnostics import Span
from damonpolicy.policy.source.nodes import Scalar
from damonpolicy.policy.source.template import TemplateError, Templates

VALUES = {"cold": "5", "node": {"name": "n0"}, "path": "/machine.slice"}


def text(template):
    return Templates().render(Scalar(template, Span("f", 1, 1, 1, 2)), VALUES).text


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{ cold }}", "5"),
        ("{{ cold | int * 5 }}ms", "25ms"),
        ("{{ node.name }}", "n0"),
        ("{{ missing | default('z') }}", "z"),
        ("{{ 'a' if cold == '5' else 'b' }}", "a"),
        ("{{ path ~ '/x' }}", "/machine.slice/x"),
        ("{{ path + '/x' }}", "/machine.slice/x"),
        ("{{ (cold | int) // 2 }}", "2"),
        ("{{ path | replace('machine', 'user') }}", "/user.slice"),
        ("{{ cold is defined }}", "True"),
    ],
)
def test_renders(template, expected):
    assert expected == text(template)


@pytest.mark.parametrize("template", ["{{ cold }}", "{{path}}", "{{\tcold  }}"])
def test_a_name_gives_what_jinja2_gives(template, monkeypatch):
    short = text(template)
    monkeypatch.setattr("damonpolicy.policy.source.template._named", lambda *_: None)

    assert short == text(template)


@pytest.mark.parametrize("template", ["{{ true }}", "{{ None }}", "{{ not }}", "{{ nothing }}"])
def test_words_of_jinja2_are_no_names(template):
    values = dict.fromkeys(["true", "None", "not"], "a variable")
    with contextlib.suppress(TemplateError):
        assert (
            Templates().render(Scalar(template, Span("f", 1, 1, 1, 2)), values).text != "a variable"
        )


BOMBS = [
    "{{ 9**9 }}",
    "{{ 9**9**9 }}",
    "{{ 'a' * 1000000000 }}",
    "{{ 1000000000 * 'a' }}",
    "{{ '%01000000000d' % 1 }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ 'a'.join('bbbb') }}",
    "{{ range(1000000000) | list }}",
    "{{ range(10) }}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{% for i in cold %}x{% endfor %}",
    "{% set x = 1 %}{{ x }}",
    "{% if cold %}x{% endif %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% block b %}{% endblock %}",
    "{% raw %}{{ x }}{% endraw %}{{ y }}",
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cold.__init__.__globals__ }}",
    "{{ node.__class__ }}",
    "{{ node['__class__'] }}",
    "{{ node | attr('__class__') }}",
    "{{ lipsum }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__ }}",
    "{{ joiner() }}",
    "{{ namespace(a=1) }}",
    "{{ dict(a=1) }}",
    "{{ self }}",
    "{{ self.__init__ }}",
    "{{ config }}",
    "{{ request }}",
    "{{ loop }}",
    "{{ caller() }}",
    "{{ varargs }}",
    "{{ [1] * 1000000 }}",
    "{{ {'a': 1} }}",
    "{{ (1, 2) }}",
    "{{ cold[::2] }}",
    "{{ cold | map('upper') }}",
    "{{ cold | sort }}",
    "{{ cold | tojson }}",
    "{{ cold | pprint }}",
    "{{ cold | format(1) }}",
    "{{ cold | wordwrap(1) }}",
    "{{ cold | indent(1000000) }}",
    "{{ cold | batch(1000000) }}",
    "{{ cold | random }}",
    "{{ cold | xmlattr }}",
    "{{ cold | urlize }}",
    "{{ cold | default(value='x') }}",
    "{{ cold is divisibleby(0) }}",
    "{{ cold is mapping }}",
    "{{ 1 / 0 }}",
    "{{ 1 % 0 }}",
    "{{ 1 // 0 }}",
    "{{ " + "9" * 900 + " * " + "9" * 80 + " }}",
    "{{ " + "(" * 400 + "1" + ")" * 400 + " }}",
    "{{ " + "-" * 900 + "1 }}",
    "{{ 'aaaaaaaaaa' " + "| replace('a', 'aaaaaaaaaa') " * 20 + "}}",
    "{{ " + " ~ ".join(["cold"] * 200) + " }}" + "x" * 1000,
    "{{ cold | replace('', 'x') }}",
    "{{ cold * 2 }}",
    "{{ cold - 1 }}",
    "{{ cold + 1 }}",
    "{{ unknown }}",
    "{{ node.unknown }}",
    "{{ cold",
    "{{ }}",
    "{{ cold }",
    "{# comment",
    "{{ cold | nosuchfilter }}",
    "{{ cold is nosuchtest }}",
    "{{ 'a' 'b' }}{{ ] }}",
]


@pytest.mark.parametrize("template", BOMBS)
def test_is_refused_at_once(template):
    started = time.process_time()

    with pytest.raises(TemplateError) as caught:
        text(template)

    assert caught.value.code.startswith("DP002")
    assert caught.value.message
    # a bound, not a measurement: a bomb would take seconds or never end
    assert time.process_time() - started < 2


def test_there_are_enough_bombs():
    assert len(BOMBS) >= 60


def test_undefined_names_what_was_meant():
    with pytest.raises(TemplateError) as caught:
        text("{{ clod }}")

    assert caught.value.hint == "did you mean `cold`?"
