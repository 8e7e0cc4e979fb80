"""Logs: lines for people, JSON, and journald's form."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from damonpolicy.base import log
from damonpolicy.cli.logs import configure

PROGRAM = """
from damonpolicy.base import log
from damonpolicy.cli.logs import configure
configure(verbosity=2, form={form!r})
log.debug("looked", slot=1)
log.info("applied", generation=3)
log.warning("drift", path="a\\x1b[2J\\nb")
"""


def told(tmp_path, form, *, journal):
    """Log to a file that is, or is not, said to be the journal's."""
    path = tmp_path / "stderr"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        inode = status.st_ino if journal else status.st_ino + 1
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(form=form)], check=True, stderr=stream,
            env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{inode}"},
        )  # fmt: skip
    return path.read_text().splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_journal_gets_priorities_and_no_times(tmp_path, form):
    lines = told(tmp_path, form, journal=True)

    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>"], "each event is one line"
    assert "\x1b" not in "".join(lines)
    if form == "json":
        assert json.loads(lines[1][3:]) == {"event": "applied", "generation": 3, "level": "info"}


def test_a_file_gets_times_and_no_priorities(tmp_path):
    lines = [json.loads(line) for line in told(tmp_path, "json", journal=False)]

    assert [each["event"] for each in lines] == ["looked", "applied", "drift"]
    assert all(each["timestamp"].endswith("Z") for each in lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_and_its_end_are_one_write(monkeypatch, form):
    """Unbuffered, as in containers: else a process that is killed would tear a line."""
    written = []

    class Unbuffered(io.StringIO):
        def write(self, text):
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Unbuffered())
    configure(verbosity=0, form=form)
    log.info("applied", generation=3)
    log._sinks.clear()

    (line,) = written
    assert line.endswith("\n")
