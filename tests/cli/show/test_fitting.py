"""On a terminal, no line is wider than it, and findings have colours."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys

import pytest

from damonpolicy.base.diagnostics import Diagnostic, Span, render_text
from damonpolicy.cli.main import main
from damonpolicy.cli.show.fitting import coloured_findings, columns, fitted, in_colour
from damonpolicy.cli.show.output import Result, emit
from tests.engine.site import shipped

TEXT = "version: 1\nname: p\n"
FOUND = [
    Diagnostic.error(
        "DP0101", Span("p.yaml", 2, 1, 2, 5), "unknown key `nam`", hint="write `name`"
    ),
    Diagnostic.warning("DP0201", None, "a warning"),
    Diagnostic.note("DP0602", None, "a note"),
]


@pytest.mark.parametrize("given", [None, "", "0", "x", "-5", "60", "1000"])
@pytest.mark.parametrize("terminal", [None, 0, 132])
def test_the_width_is_what_the_library_finds(monkeypatch, given, terminal):
    def size(*_):
        if terminal is None:
            raise OSError
        return os.terminal_size((terminal, 24))

    monkeypatch.setattr(os, "get_terminal_size", size)
    monkeypatch.delenv("COLUMNS", raising=False)
    if given is not None:
        monkeypatch.setenv("COLUMNS", given)

    assert columns() == shutil.get_terminal_size().columns


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "no", "force", "wanted"),
    [
        (Terminal(), "", "", True),
        (Terminal(), "1", "", False),
        (Terminal(), "1", "1", False),
        (io.StringIO(), "", "", False),
        (io.StringIO(), "", "1", True),
    ],
)
def test_colours_are_for_terminals_unless_somebody_says_otherwise(
    monkeypatch, stream, no, force, wanted
):
    monkeypatch.setenv("NO_COLOR", no)
    monkeypatch.setenv("FORCE_COLOR", force)

    assert in_colour(stream) is wanted


def test_findings_say_the_same_in_colours():
    plain = render_text(FOUND, {"p.yaml": TEXT})
    shown = coloured_findings(plain)

    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == plain
    assert "\x1b[1;31merror[DP0101]: \x1b[0m" in shown
    assert "\x1b[1;33mwarning" in shown
    assert "\x1b[1;36mnote" in shown
    assert "\x1b[32mhint:\x1b[0m write `name`" in shown


def test_findings_are_coloured_where_they_are_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("NO_COLOR", "")

    emit(Result(diagnostics=FOUND), command="x", form="text", kernel=None)

    assert "\x1b[1;31merror" in sys.stderr.getvalue()


@pytest.mark.parametrize("name", ["ksm", "memory-tiering", "proactive-reclaim", "monitor"])
@pytest.mark.parametrize("width", [60, 80])
def test_plans_fit_a_terminal(site, name, width):
    plan = site.run("plan", shipped(name)).out

    shown = fitted(plan, width)

    assert max(map(len, shown.splitlines())) <= width
    words = [word for word in re.split(r"\s+", plan) if word and "/0/" not in word]
    assert [word for word in words if word not in shown] == []


@pytest.mark.parametrize("command", ["plan", "apply"])
@pytest.mark.parametrize("width", [60, 80])
def test_a_command_breaks_its_lines_where_its_terminal_ends(site, monkeypatch, command, width):
    monkeypatch.setenv("COLUMNS", str(width))
    words = ("--kernel", f"emulated:{site.kernel}", "--state-dir", str(site.directory))
    with contextlib.redirect_stdout(Terminal()) as shown, pytest.raises(SystemExit):
        main([*words, command, shipped("memory-tiering")])

    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any(len(line) > width - 20 for line in lines), "the width is made use of"
    assert any(line.startswith("+ kdamond memory-tiering/") for line in lines)


def test_what_is_no_terminal_gets_all_of_it(site):
    plan = site.run("plan", shipped("ksm")).out

    assert fitted(plan, 0) == plan
    assert "contexts/0/monitoring_attrs/intervals/sample_us" in plan
