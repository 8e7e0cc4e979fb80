"""Common fixtures: no access to the real machine, and the command line in process."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ["DAMONPOLICY_FORBID_LIVE"] = "1"
os.environ["DAMONPOLICY_NO_CACHE"] = "1"  # tests replace parts of the code, of which no entry knows
for _name in ("DAMONPOLICY_KERNEL", "FORCE_COLOR", "DAMONPOLICY_DEBUG"):
    os.environ.pop(_name, None)

import hypothesis  # noqa: E402 — this and the imports below must see the environment set above
import pytest  # noqa: E402

from damonpolicy.base import etc, trust  # noqa: E402
from damonpolicy.kernel.damon.tree import is_volatile, slot_tree, snapshot  # noqa: E402
from damonpolicy.kernel.system.machine import ADMIN, LiveMachine  # noqa: E402
from tests import outputs  # noqa: E402

BUSY = [hypothesis.HealthCheck.too_slow]  # so is any test on a busy machine
hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=200, suppress_health_check=BUSY
)
hypothesis.settings.register_profile(
    "nightly", deadline=None, max_examples=10_000, suppress_health_check=BUSY
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def listed(tmp_path_factory):
    """A list of root's that names where tests keep their files, which not everybody can read."""
    path = tmp_path_factory.mktemp("etc") / "sources.allow"
    path.write_text(f"{os.path.realpath(tempfile.gettempdir())}/\n/dev/shm/\n")
    path.chmod(0o644)
    return str(path)


@pytest.fixture(autouse=True)
def lists_of_root(listed, monkeypatch):
    """No test depends on root's lists of this machine; the tests' user counts as root."""
    monkeypatch.setattr(etc, "SOURCES", listed)
    monkeypatch.setattr(etc, "ROOT", trust.root_and_we())


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


@pytest.fixture
def give(monkeypatch):
    """Change the owner of a file; without root's rights it only looks so."""
    owners, real = {}, os.fstat

    def seen(descriptor):
        status = real(descriptor)
        owner = owners.get((status.st_dev, status.st_ino))
        return status if owner is None else os.stat_result((*status[:4], owner, *status[5:]))

    def give(path, user):
        if os.geteuid() == 0:
            os.lchown(path, user, -1)
            return
        status = os.lstat(path)
        owners[status.st_dev, status.st_ino] = user
        monkeypatch.setattr(os, "fstat", seen)

    return give


@pytest.fixture
def public_place():
    """A directory that everybody can look into, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        yield Path(os.path.realpath(place))


@pytest.fixture
def guarded(monkeypatch):
    """Treat every machine as one that only root may change, and the tests' user as root."""
    monkeypatch.setattr(trust, "guarded", lambda machine: True)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


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
    if out.getvalue().startswith(outputs.HEAD):
        outputs.conform(out.getvalue())
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
