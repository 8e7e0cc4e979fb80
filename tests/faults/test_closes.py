"""A failing close of one of our own files, as NFS and quotas report some errors late."""

from __future__ import annotations

import errno
import itertools
import os
from contextlib import contextmanager

import pytest

from tests.faults import explore
from tests.faults.scenarios import OPERATIONS, Scenario
from tests.faults.verdict import attempt, violation

CODES = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
RESCUES = ("rollback", "expiry")
"""What tries once more to save the state."""
ALL = 0
"""Every close fails, and not only one of them."""


@contextmanager
def failing(below, at):
    """Let one close of a file below a directory fail, from 1; whatever it says, the file is closed."""
    seen, real = [], os.close

    def close(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        real(descriptor)
        if path.startswith(str(below)):
            seen.append(path)
            if at in (ALL, len(seen)):
                code = CODES[len(seen) % len(CODES)]
                raise OSError(code, os.strerror(code))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "close", close)
        yield seen


def tried(scenario, begin, do):
    """Let each close fail once, then all of them; yield which, and what the command tells."""
    for at in itertools.count(ALL):
        begin()
        before = explore.descriptors()
        with failing(scenario.directory, at) as seen:
            error = attempt(do)
        assert explore.descriptors() == before, (at, error)
        if at > len(seen):
            assert error is None
            assert at > 3
            return
        yield seen[at - 1] if at else "", error


@pytest.fixture(params=OPERATIONS)
def scenario(request):
    made = Scenario("a", "7.3", None, explore.TEXT, request.param)
    made.before, made.after  # noqa: B018 — known before anything goes wrong
    yield made
    made.close()


def test_a_close_that_fails_leaves_before_or_after(scenario):
    """H6: before the commit point it may end the change, behind it nothing does."""
    for path, error in tried(scenario, scenario.begin, lambda: scenario.do(scenario.machine)):
        assert not violation(scenario, error), (path, error)
        if os.path.isdir(path):
            assert error is None, "nothing was to be kept in it"
        if path.endswith("/.state.json.next") and scenario.operation not in RESCUES:
            assert error is not None, "what may not have arrived is not renamed into place"


def test_a_close_that_fails_in_a_recovery_holds_up_nothing(scenario):
    """H6: after a death at any step, a recovery finishes, or the next one does."""
    scenario.begin()
    steps = explore.run(scenario, scenario.do, {})[0].count
    for at in range(2, steps + 1, 9):

        def die(at=at):
            explore.begun(scenario, {at: "crash"})
            scenario.machine._slept += 3600

        for path, error in tried(scenario, die, scenario.recover):
            if error is not None:
                assert attempt(scenario.recover) is None, (at, path, error)
            assert scenario.world.look() in (scenario.before, scenario.after), (at, path, error)
            assert not scenario.world.places.journal.exists(), (at, path, error)


def test_a_close_behind_another_error_hides_nothing(monkeypatch):
    """H6: no room for the journal, and then its close fails, too."""
    scenario = Scenario("a", "7.3", None, explore.TEXT, "first")
    before, calls, real = scenario.before, [], os.posix_fallocate

    def full(descriptor, offset, size):
        calls.append(descriptor)
        if len(calls) == 2:  # the first is for the state file
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    open_before = explore.descriptors()
    with failing(scenario.directory / "run" / ".journal.next", ALL) as seen:
        error = attempt(lambda: scenario.do(scenario.machine))

    assert seen
    assert str(error).startswith("cannot write the journal")
    assert scenario.world.look() == before
    assert not list(scenario.world.places.run.glob(".journal*"))
    assert explore.descriptors() == open_before
    scenario.close()
