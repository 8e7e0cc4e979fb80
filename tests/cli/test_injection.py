"""Names from outside cannot inject lines, or commands for terminals, CI or tables."""

from __future__ import annotations

import json
import re

import pytest

from damonpolicy.base import diagnostics, log
from damonpolicy.base.diagnostics import (
    Diagnostic,
    Span,
    as_text,
    cell,
    render_github,
    render_sarif,
)
from damonpolicy.cli import logs
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.show.progress import _Line
from damonpolicy.observe.records import parquet
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from tests.observe.recorded import NOW

FORGED = "x\n::warning::one\r  ::error::two\u2028::add-mask::q ##[error]three \x1b[2J\u202e"
"""A name that a workflow would obey, were it printed as it is."""
PLAIN = FORGED.encode("unicode_escape").decode()

POLICY = """
version: 1
name: p
description: {name}
settings: {{/proc/sys/vm/swappiness: 70}}
modules: {{damon_stat: {{enabled: false}}}}
kdamonds:
  - name: k
    ops: vaddr
    when_absent: wait
    targets: [{{process: {{name: {name}}}}}, {{process: {{name: qemu-system-x86_64}}}}]
    schemes:
      - name: s
        action: pageout
        quota:
          size: 1MiB
          every: 1s
          goals: [{{metric: user_input, target: 5, from: {{file: {name}}}}}]
"""


def commands(text):
    """Return the lines that a runner of GitHub Actions would take for commands."""
    return [
        line
        for line in re.split(r"[\r\n\u2028]", text)
        if line.lstrip().startswith("::") or "##[" in line
    ]


def harmless(text):
    return not commands(text) and all(each.isprintable() or each == "\n" for each in text)


def record(path, name):
    source = Source(name, scheme=name, probes=(name,), filters=name, accesses=name, ops="paddr")
    regions = Regions.of([4096], [8192], [1], [2], hits=[[1]])
    found = series_of(source, [(NOW, NOW + 10**9, Intervals(5000, 100_000), regions)])
    parquet.write(str(path), [found])
    return str(path)


@pytest.mark.parametrize(
    "words",
    [*((name,) for name in REPORTS), ("snapshot", "--boxes"), ("heatmap", "--guide"), ("snapshot", "--line", "{{ kdamond }}"),
     ("snapshot", "--csv")],
    ids=" ".join,
)  # fmt: skip
def test_names_in_a_record_make_no_line(site, tmp_path, words):
    forged = site.done("report", words[0], record(tmp_path / "f.parquet", FORGED), *words[1:])
    plain = site.done("report", words[0], record(tmp_path / "p.parquet", "name"), *words[1:])

    assert harmless(forged.out)
    assert harmless(forged.err)
    assert forged.out.count("\n") == plain.out.count("\n")


def test_what_a_policy_names_makes_no_line(site):
    name = json.dumps(FORGED)  # as YAML reads it, too
    path = site.policy("forged", POLICY.format(name=name))
    plain = site.policy("plain", POLICY.format(name="plain"))
    counts = [site.run("plan", each, "--unfed").out.count("\n") for each in (path, plain)]
    assert counts[0] == counts[1]
    for words in (
        ("validate", path), ("plan", path, "--unfed"), ("apply", path, "--unfed"), ("status",),
        ("diff",), ("history",), ("plan", path), ("import",), ("remove", "p"),
    ):  # fmt: skip
        done = site.run(*words)
        assert harmless(done.out), words
        assert harmless(done.err), words
        assert done.out + done.err


def test_names_of_files_and_words_of_commands_make_no_line(site, tmp_path):
    directory = tmp_path / "here\n::warning::one"
    directory.mkdir()
    policy = directory / "a\n::error::two.yaml"
    policy.write_text(POLICY.format(name="plain"))
    wrong = directory / "b\r::error::two.yaml"
    wrong.write_text("version: 2\nkdamonds: [")
    site.done("apply", policy, "--unfed")
    for words in (
        ("validate", wrong), ("plan", wrong), ("validate", f"{directory}/none"), ("history",),
        ("remove", FORGED), ("apply", "--plan", wrong), ("apply", policy, "--set", FORGED),
        ("report", "wss", wrong), ("report", "wss", f"{directory}/none"), (FORGED,),
        ("features", FORGED), ("rollback", FORGED), ("status", f"--{FORGED}"),
        ("convert", record(tmp_path / "f.parquet", "x"), directory / "c\n::error::d.json"),
    ):  # fmt: skip
        done = site.run(*words)
        assert harmless(done.out), words
        assert harmless(done.err), words
        assert done.out + done.err


def test_findings_for_a_workflow_are_commands_of_ours_alone():
    span = Span("a\n::error::b,c:d%.yaml", 1, 2, 3, 4)
    found = [Diagnostic.warning("DP0001", span, FORGED, hint="100%\nfine")]

    assert render_github(found) == (
        "::warning file=a%0A%3A%3Aerror%3A%3Ab%2Cc%3Ad%25.yaml,line=1,endLine=3,col=2,endColumn=4,"
        f"title=DP0001::{PLAIN.replace(chr(92) + 'n', '%0A')}%0Ahint: 100%25%0Afine\n"
    )


@pytest.mark.parametrize(
    ("name", "uri"),
    [("a b%.yaml", "a%20b%25.yaml"), ("/x/é.yaml", "/x/%C3%A9.yaml"),
     ("a\n?#.yaml", "a%0A%3F%23.yaml"), ("a\udcff.yaml", "a%FF.yaml"), ("c:d.yaml", "c%3Ad.yaml")],
)  # fmt: skip
def test_a_file_is_named_by_an_address(name, uri):
    log = json.loads(render_sarif([Diagnostic.error("DP0001", Span(name, 1, 1, 1, 1), "x")]))
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]

    assert place["artifactLocation"]["uri"] == uri


def test_lines_stay_lines():
    assert as_text(["a", "", "  b: ::1"]) == "a\n\n  b: ::1\n"
    assert (
        as_text(["::warning::x", " ::x", "a ##[b]"]) == "\\x3a:warning::x\n \\x3a:x\na #\\x23[b]\n"
    )
    assert as_text([FORGED]).count("\n") == 1
    once = as_text([FORGED, "::x"])
    assert as_text(once.removesuffix("\n").split("\n")) == once


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x"])
def test_no_cell_is_a_formula(name):
    assert cell(name) == f"'{name}"
    assert not cell(f"\t{name}").startswith("\t")


def test_an_event_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(log, "_sinks", [])
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logs.configure(verbosity=1, form="text")
    log.warning("reload", reason=FORGED, files=[FORGED])
    told = capsys.readouterr().err

    assert told.count("\n") == 1
    assert harmless(told)


def test_what_is_shown_while_it_goes_on_is_one_line():
    line = _Line()
    line.hear("info", "operation", {"value": FORGED, "path": FORGED})

    assert str(line).isprintable()


def test_json_says_names_as_they_are(site, tmp_path):
    """Only text for people is escaped."""
    told = site.json("report", "wss", record(tmp_path / "f.parquet", FORGED))

    assert told["data"]["working_sets"][0]["kdamond"] == FORGED
    assert diagnostics.visible(FORGED, kept="") == PLAIN
