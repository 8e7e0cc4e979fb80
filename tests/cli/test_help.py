"""`--help` of every command, including the defaults of options."""

from __future__ import annotations

import click
import pytest

from damonpolicy.cli.commands.emulate import LEVERS
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.main import COMMANDS, find_command
from tests.conftest import ROOT, run_cli

EVERY = [
    *((name,) for name in COMMANDS),
    *(("report", name) for name in REPORTS),
    *(("emulate", name) for name in LEVERS),
]


def found(words):
    """The command of one or two words."""
    command = find_command(words[0])
    for word in words[1:]:
        command = command.get_command(click.Context(command), word)
    return command


def options(words):
    return [
        each
        for each in found(words).params
        if isinstance(each, click.Option) and not (each.is_flag or each.count or each.is_eager)
    ]


def defaults():
    for words in EVERY:
        for each in options(words):
            if (default := each.to_info_dict()["default"]) is not None:
                yield pytest.param(words, each.name, default, id=f"{'-'.join(words)}-{each.name}")


@pytest.mark.parametrize(("words", "name", "default"), list(defaults()))
def test_every_default_is_in_the_help(words, name, default):
    told = " ".join(run_cli(*words, "--help").out.split())
    (option,) = (each for each in options(words) if each.name == name)
    own = told.partition(f" {option.opts[-1]} ")[2]

    assert f"[default: {default}" in own.partition(" --")[0]


def test_recording_keeps_all_and_says_so():
    told = " ".join(run_cli("record", "--help").out.split())

    assert "older snapshots are discarded [default: (all); x>=1]" in told
    assert "begin another file then [default: 256MiB]" in told


@pytest.mark.parametrize("words", EVERY, ids="-".join)
def test_defaults_are_written_in_one_way(words):
    for each in options(words):
        assert "(default" not in (each.help or "")


def test_the_reference_tells_defaults_too():
    page = (ROOT / "docs/reference/commands.md").read_text()

    assert "| `--max-size SIZE` | begin another file then (default: 256MiB) |" in page
    assert "older snapshots are discarded (default: all) |" in page
    assert "Sentinel" not in page
