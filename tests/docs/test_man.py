"""Manual pages: one for each command, with all of its options, and without a warning of groff."""

from __future__ import annotations

import shutil
import subprocess
import sys

import click
import pytest

from damonpolicy.cli.main import COMMANDS, find_command
from tests.world import ROOT


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "docs/man.py", directory], check=True)
    return {each.name: each.read_text("utf-8") for each in directory.iterdir()}


def test_every_command_has_a_page(pages):
    wanted = {f"damonpolicy-{name}.1" for name in COMMANDS}

    assert wanted <= set(pages)
    assert {"damonpolicy.1", "damonpolicy-report-wss.1"} <= set(pages)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_all_options_of_its_command(pages, name):
    text = pages[f"damonpolicy-{name}.1"] + pages["damonpolicy.1"]
    command = find_command(name)
    options = [each for each in command.params if isinstance(each, click.Option)]

    assert [
        word for each in options for word in each.opts if word.replace("-", "\\-") not in text
    ] == []


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_no_warning(pages):
    for name, text in pages.items():
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-Kutf8", "-z"], input=text.encode(),
            capture_output=True, check=True,
        )  # fmt: skip
        assert done.stderr.decode() == "", name


def test_a_line_that_begins_with_a_dot_is_text(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from generator import man

    assert man._escaped(".so /etc/passwd") == r"\&.so /etc/passwd"
    assert man._text(r"write `a-b\c`") == r"write \fBa\-b\ec\fR"
