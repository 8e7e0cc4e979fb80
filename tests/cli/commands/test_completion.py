"""Completion is silent, and knows kernels, schemes, variables and names, colons included."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from damonpolicy.cli.commands import completion
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.main import COMMANDS, damonpolicy, find_command
from damonpolicy.cli.show import examples
from tests.conftest import ROOT

KSM = str(ROOT / "policies/ksm.yaml")


def words(arguments, incomplete):
    complete = ShellComplete(damonpolicy, {}, "damonpolicy", "_DAMONPOLICY_COMPLETE")
    return [each.value for each in complete.get_completions(arguments, incomplete)]


def test_kernels_are_completed():
    assert words(["--kernel"], "") == words(["status", "--kernel"], "")
    assert words(["--kernel"], "l") == ["live"]
    assert "emulated:7.3" in words(["validate", KSM, "--kernel"], "emulated:")


def test_variables_of_the_named_policy_are_completed():
    found = words(["plan", KSM, "--set"], "")

    assert found == ["vms=", "cold_for=", "sample=", "aggregation="]
    assert words(["plan", "/nowhere.yaml", "--set"], "") == []


def test_schemes_are_completed(site, monkeypatch):
    site.done("apply", str(ROOT / "policies/monitor.yaml"))
    arguments = ["--kernel", "emulated:7.3", "--state-dir", str(site.directory), "report"]

    assert words([*arguments, "wss", "--scheme"], "") == ["hot", "warm", "cold"]
    assert words([*arguments, "wss", "--scheme"], "w") == ["warm"]


def test_keys_are_completed():
    assert "region_count" in words(["explain"], "reg")


def bash(line, tmp_path):
    """What bash offers for a line, broken into words as bash breaks it."""
    parts = [part for word in shlex.split(line) for part in _broken(word)]
    if line.endswith(" "):
        parts.append("")
    script = completion._BASH.replace('"$1"', f"{sys.executable} -m damonpolicy")
    listed = " ".join(shlex.quote(each) for each in parts)
    run = (
        f"compopt() {{ :; }}\n{script}\nCOMP_WORDS=({listed})\nCOMP_CWORD={len(parts) - 1}\n"
        '_damonpolicy_completion damonpolicy\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", run], check=False, capture_output=True, text=True, env=environment
    )
    assert done.stderr == ""
    return done.stdout.split()


def _broken(word):
    """Break at colons and equals signs, which are words to bash."""
    return [each for each in word.replace(":", " : ").replace("=", " = ").split(" ") if each]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("damonpolicy --kernel emulated:7.", "7.3"),
        ("damonpolicy status --kernel emulated:", "7.3"),
        ("damonpolicy stat", "status"),
        (f"damonpolicy plan {KSM} --set co", "cold_for="),
    ],
)
def test_bash_is_offered_the_rest_of_the_word(line, offered, tmp_path):
    assert offered in bash(line, tmp_path)


@pytest.mark.parametrize(
    "line", ["damonpolicy --kernel emulated:7 remove ", "damonpolicy --bogus remove k"]
)
def test_no_error_comes_between_the_words_of_a_line(line, tmp_path):
    assert bash(line, tmp_path) == []


EVERY = [*COMMANDS, *(f"report {name}" for name in REPORTS)]


@pytest.mark.parametrize("name", EVERY)
def test_every_help_has_an_example_that_can_be_typed(name, cli):
    told = cli(*name.split(), "--help").out

    for line in examples.EXAMPLES[name]:
        assert f"  {line}\n" in told
        given = shlex.split(line.removeprefix("source <(").removesuffix(")"))[1:]
        assert given[: len(name.split())] == name.split()
        context = click.Context(damonpolicy)
        command = find_command(given[0])
        if isinstance(command, click.Group):
            sub = command.get_command(context, given[1])
            sub.make_context(given[1], given[2:], parent=context)
        else:
            command.make_context(given[0], given[1:], parent=context)
