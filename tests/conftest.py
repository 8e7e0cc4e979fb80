"""What every test gets: no way to the real machine, and a command line that runs in process."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ["DAMONPOLICY_FORBID_LIVE"] = "1"
for _name in ("DAMONPOLICY_KERNEL", "FORCE_COLOR", "DAMONPOLICY_DEBUG"):
    os.environ.pop(_name, None)

import hypothesis  # noqa: E402 — what it and the next import must see this environment
import pytest  # noqa: E402

from damonpolicy.kernel.sysfs import ADMIN, LiveMachine  # noqa: E402
from damonpolicy.kernel.tree import is_volatile, slot_tree, snapshot  # noqa: E402

BUSY = [hypothesis.HealthCheck.too_slow]  # so is any test on a busy machine
hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=200, suppress_health_check=BUSY
)
hypothesis.settings.register_profile(
    "nightly", deadline=None, max_examples=10_000, suppress_health_check=BUSY
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def host_is_untouched():
    """The DAMON tree of the machine that runs the tests belongs to its owner."""
    before = _host()
    yield
    assert before == _host()


def _host():
    """Return everything of the host's tree that only a write would change.

    But for regions: a machine's owner lets them follow its memory, whatever runs here.
    """
    if not os.path.isdir(ADMIN):
        return None
    for _ in range(100):  # a file may be busy for a moment when several processes look
        try:
            tree = snapshot(LiveMachine())
            break
        except OSError as error:
            if error.errno != errno.EBUSY:
                return None
    else:
        pytest.fail(f"{ADMIN} stays busy")
    slots = {slot: slot_tree(tree, slot) for slot in range(int(tree.get("nr_kdamonds", 0)))}
    return {
        (slot, path): value
        for slot, own in slots.items()
        for path, value in own.items()
        if not is_volatile(path, own) and "/regions/" not in path
    }


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
