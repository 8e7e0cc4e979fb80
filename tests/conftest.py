"""What every test gets: no way to the real machine, and a command line that runs in process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ["DAMONPOLICY_FORBID_LIVE"] = "1"
for _name in ("DAMONPOLICY_KERNEL", "FORCE_COLOR", "DAMONPOLICY_DEBUG"):
    os.environ.pop(_name, None)

import hypothesis
import pytest

from damonpolicy.kernel.sysfs import ADMIN, LiveMachine
from damonpolicy.kernel.tree import snapshot

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, max_examples=200)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def host_is_untouched():
    """The DAMON tree of the machine that runs the tests belongs to its owner."""
    live = LiveMachine()

    def look():
        try:
            return {p: v for p, v in snapshot(live).items() if "/stats/" not in p}
        except OSError:
            return None

    before = look() if os.path.isdir(ADMIN) else None
    yield
    assert before == (look() if os.path.isdir(ADMIN) else None)


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def run_cli(*arguments: str) -> Outcome:
    """Run the command line in this process."""
    from damonpolicy.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(each) for each in arguments])
        except SystemExit as stop:
            code = stop.code
    return Outcome(int(code or 0), out.getvalue(), err.getvalue())


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run commands in an empty directory, on an emulated kernel of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("NO_COLOR", "1")
    return run_cli


def python() -> list[str]:
    """The interpreter that runs the tests, for whole processes."""
    return [sys.executable, "-m", "damonpolicy"]
