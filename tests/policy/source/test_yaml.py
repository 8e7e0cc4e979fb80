import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.policy.source.nodes import Mapping, Scalar, plain
from damonpolicy.policy.source.yaml import parse


def codes(text):
    _, found = parse("f.yaml", text)
    return [(each.code, each.span.line, each.span.column) for each in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {{ x }}\n", [("DP0012", 1, 4)]),
        ("a: {{ x }}s\n", [("DP0012", 1, 4)]),
        ("a: {cpus: 0,2}\n", [("DP0015", 1, 13)]),
        ("a:\n\tb: 1\n", [("DP0005", 2, 1)]),
        ("a: &x 1\nb: *x\n", [("DP0007", 1, 4), ("DP0007", 2, 4)]),
        ("<<: {a: 1}\n", [("DP0008", 1, 1)]),
        ("a: 1\nb: 2\na: 3\n", [("DP0006", 3, 1)]),
        ("a: !!int 3\n", [("DP0009", 1, 4)]),
        ("a: b: c\n", [("DP0004", 1, 5)]),
        ('a: "x\n', [("DP0004", 1, 4)]),
        ("a: [1, 2\n", [("DP0004", 1, 4)]),
        ("a: 1\n---\nb: 2\n", [("DP0010", 2, 1)]),
        ("- a\n", [("DP0014", 1, 1)]),
        ("just text\n", [("DP0014", 1, 1)]),
        ("", [("DP0011", 1, 1)]),
        ("# nothing\n", [("DP0011", 1, 1)]),
        ("a: \x01\n", [("DP0003", 1, 4)]),
        ("? [a]\n: b\n", [("DP0016", 1, 3)]),
        ("a: ~\nb:\n", [("DP0105", 1, 1), ("DP0105", 2, 1)]),
        ("a:\n  -\n", [("DP0105", 2, 4)]),
        ('"{{ x }}": 1\n', [("DP0012", 1, 1)]),
    ],
)
def test_traps(text, expected):
    assert expected == codes(text)


def test_depth_is_bounded_without_recursion():
    assert codes("[" * 900) == [("DP0013", 1, 41)]
    ((code, line, _),) = codes("[" * 100_000)  # libyaml may refuse it first, elsewhere
    assert (code, line) == ("DP0013", 1)


def test_scalars_stay_text():
    top, found = parse("f.yaml", "a: on\nb: 0777\nc: 12:30\nd: 'x'\n")

    assert not found
    assert plain(top)[0] == {"a": "on", "b": "0777", "c": "12:30", "d": "x"}


def test_places_of_keys_and_values():
    top, _ = parse("f.yaml", "a:\n  - b: ä\n    c: [1, 22]\n")
    _, places = plain(top)

    assert (places.key(("a", 0, "b")).line, places.key(("a", 0, "b")).column) == (2, 5)
    assert (places.value(("a", 0, "c", 1)).line, places.value(("a", 0, "c", 1)).column) == (3, 12)
    assert places.value(("a", 0)) == places.value(("a", 0, "missing", 3))


def test_byte_order_of_wide_characters():
    top, _ = parse("f.yaml", "日本: {a: 1, b: x}\n")
    _, places = plain(top)

    assert places.value(("日本", "b")).column == 15


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nname x\nb: 2\n", (2, 1, "write `name: x`")),
        ("a: 1\nname x # y\n", (2, 1, "write `name: x`")),
        ("a: 1\nname\nb: 2\n", (2, 1, "write `name:` and its value")),
        ("a: 1\n'b\nc'\n", (2, 1, "write `:` after the key")),
        ("version 1\nname: x\n", (1, 1, "write `version: 1`")),
        ("a:\n  - b: 1\n    c 2\n    d: 3\n", (3, 5, "write `c: 2`")),
        ("a:\n  - name x\n    d: 3\n", (2, 5, "write `name: x`")),
        ("a:\n  b 1\n  c: 2\n", (2, 3, "write `b: 1`")),
        ("a: one\n  two words\n  c: 2\n", (3, 4, "put quotes around a value that holds `: `")),
        ("a: {b: {not anon}}\n", (1, 9, "write `not: anon`")),
        ("a: {b: 1, c 2}\n", (1, 11, 'write "1,c 2" with quotes, or `c: 2`')),
        ("a: {cpus: 0,2}\n", (1, 13, 'write "0,2" with quotes')),
        ("reject: !anon\n", (1, 9, "write `{not: anon}`")),
        ("a: {reject: !anon}\n", (1, 13, "write `{not: anon}`")),
        ("a: !anon\n", (1, 4, "types come from the field: remove the tag")),
    ],
)
def test_hints_show_what_was_meant(text, expected):
    _, found = parse("f.yaml", text)

    assert expected == (found[0].span.line, found[0].span.column, found[0].hint)


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text):
    top, found = parse("f.yaml", text)

    assert isinstance(top, Mapping) or found
    assert all(each.span.line >= 1 and each.span.column >= 1 for each in found)


@given(
    st.recursive(
        st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=4)
            | st.dictionaries(
                st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=5),
                inner,
                min_size=1,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_structure_survives(value):
    import json

    text = "top: " + json.dumps(value, ensure_ascii=False) + "\n"
    top, found = parse("f.yaml", text)

    assert not found
    assert {"top": value} == plain(top)[0]


def test_scalars_know_whether_they_were_quoted():
    top, _ = parse("f.yaml", "a: 'null'\n")

    assert isinstance(top.get("a"), Scalar)
    assert top.get("a").quoted
