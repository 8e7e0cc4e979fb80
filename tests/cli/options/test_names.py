"""Names of processes and files from outside cannot control the terminal."""

from __future__ import annotations

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.errors import ExitCode
from tests.conftest import run_cli

WATCHED = """
version: 1
name: watched
modules: {{damon_stat: {{enabled: false}}}}
kdamonds:
  - name: k
    ops: vaddr
    targets: [{{process: {{pid: {pid}}}}}]
    schemes: [{{name: s, action: stat}}]
"""


def test_a_process_is_shown_on_one_line_and_colours_nothing(site):
    pid = site.machine.start_process("a\x1b[31m\nkdam b", areas=[{"size": "4MiB"}])
    site.done("apply", site.policy("watched", WATCHED.format(pid=pid)))

    (line,) = [each for each in site.done("status").out.splitlines() if f"pid {pid} " in each]

    assert line.endswith(rf"pid {pid} (a\x1b[31m\nkdam b)")


def test_a_file_is_named_so_that_it_can_be_told_apart(tmp_path):
    path = tmp_path / "a\x1b[2J\nb\x9b.yaml"
    path.write_text("version: 1\nname: p\nkdamond: []\n")

    outcome = run_cli("validate", str(path))

    assert outcome.code == ExitCode.INVALID
    assert r"a\x1b[2J\nb\x9b.yaml:3:1: error[" in outcome.err
    assert visible(outcome.err) == outcome.err


def test_letters_of_all_languages_are_shown_as_they_are():
    assert visible("Größe 温度 é\n") == "Größe 温度 é\n"
