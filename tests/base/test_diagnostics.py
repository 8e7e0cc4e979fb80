import json

from damonpolicy.base.diagnostics import (
    Diagnostic,
    Span,
    did_you_mean,
    limit_findings,
    render_github,
    render_sarif,
    render_text,
    to_json,
)

HERE = Span("a.yaml", 2, 4, 2, 6)
ERROR = Diagnostic.error("DP0001", HERE, "it is wrong", hint="mend it")


def test_text_has_place_line_caret_and_hint():
    text = render_text([ERROR], {"a.yaml": "x: 1\ny: zz\n"})

    assert text == (
        "a.yaml:2:4: error[DP0001]: it is wrong\n  2 | y: zz\n    |    ^^\n  hint: mend it\n"
    )


def test_the_caret_stands_below_wide_characters():
    span = Span("a.yaml", 1, 5, 1, 6)

    text = render_text([Diagnostic.error("DP0001", span, "x")], {"a.yaml": "日本: z\n"})

    assert "  1 | 日本: z\n    |       ^\n" in text


def test_long_lines_are_cut_around_the_caret():
    span = Span("a.yaml", 1, 501, 1, 504)
    text = render_text(
        [Diagnostic.error("DP0001", span, "x")], {"a.yaml": "a" * 500 + "BAD" + "a" * 500}
    )

    shown, caret = text.split("\n")[1:3]
    assert len(shown) < 140
    assert shown[caret.index("^") : caret.rindex("^") + 1] == "BAD"


def test_control_characters_do_not_reach_the_terminal():
    span = Span("a.yaml", 1, 1, 1, 2)
    text = render_text([Diagnostic.error("DP0001", span, "x")], {"a.yaml": "\x1b[31mred\n"})

    assert "\x1b" not in text


def test_order_is_by_place_and_repetitions_go():
    later = Diagnostic.error("DP0002", Span("a.yaml", 9, 1, 9, 2), "later")
    nowhere = Diagnostic.error("DP0003", None, "nowhere")

    text = render_text([nowhere, later, ERROR, ERROR], {})

    assert text.count("it is wrong") == 1
    assert text.index("it is wrong") < text.index("later") < text.index("nowhere")


def test_places_stay_inside_of_their_file():
    beyond = Span("a.yaml", 9, 40, 12, 41)
    related = ((Span("a.yaml", 1, 9, 1, 10), "here"), (Span("b.yaml", 3, 3, 3, 4), "no text"))
    (found,) = limit_findings(
        [Diagnostic("error", "DP0001", "x", beyond, related=related)], {"a.yaml": "x: 1\ny: zz\n"}
    )

    assert (found.span.line, found.span.column) == (2, 6)
    assert [(span.line, span.column) for span, _ in found.related] == [(1, 5), (3, 3)]


def test_github_annotations_are_escaped():
    bad = Diagnostic.error("DP0001", Span("a,b:c.yaml", 1, 2, 1, 3), "100% wrong\nreally")

    assert render_github([bad]) == (
        "::error file=a%2Cb%3Ac.yaml,line=1,endLine=1,col=2,endColumn=3,title=DP0001"
        "::100%25 wrong%0Areally\n"
    )


def test_sarif_is_a_log_with_one_run():
    log = json.loads(render_sarif([ERROR]))

    result = log["runs"][0]["results"][0]
    assert (log["version"], result["ruleId"], result["level"]) == ("2.1.0", "DP0001", "error")
    region = result["locations"][0]["physicalLocation"]["region"]
    assert (region["startLine"], region["startColumn"]) == (2, 4)


def test_json_has_the_place():
    assert to_json(ERROR)["place"] == {
        "file": "a.yaml",
        "line": 2,
        "column": 4,
        "end_line": 2,
        "end_column": 6,
    }


def test_did_you_mean():
    assert did_you_mean("acton", ["action", "name"]) == "did you mean `action`?"
    assert did_you_mean("zzz", ["a", "b"]) == "one of `a`, `b`"
    assert did_you_mean("zzz", [str(each) for each in range(40)]) == ""
