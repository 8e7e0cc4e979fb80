"""The end of a service: soon, whatever it does, but never inside a transaction."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from damonpolicy.daemon import app as serving
from damonpolicy.daemon.app import Late, Wishes, ending, serve, within
from damonpolicy.daemon.jobs.reload import Reloader
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.signals import taken, waiting
from tests.daemon.conftest import PAGES, settings

SECONDS = 60


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(serving, "_GRACE", 0.2)


def told(number):
    """Send this process a signal in a moment."""
    threading.Timer(0.2, os.kill, [os.getpid(), number]).start()


def computes():
    """As a template does that grows without bounds: pure Python, and nothing that waits."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        sum(range(1000))
    pytest.fail("nobody has broken it off")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_also_in_the_midst_of_a_long_computation(
    world,
    tmp_path,
    monkeypatch,
    number,
):
    monkeypatch.setattr(Reloader, "look", lambda reloader: computes())
    began = time.monotonic()
    told(number)

    assert serve(world.machine, world.places, [str(tmp_path)]) is False
    assert time.monotonic() - began < SECONDS / 2
    assert not world.places.service.exists()


@pytest.mark.usefixtures("hasty")
def test_what_swallows_everything_once_does_not_make_it_deaf(world, tmp_path, monkeypatch):
    """As Python does with what is raised while an object is removed: the alarm comes again."""
    swallowed = []

    def swallows(_):
        try:
            computes()
        except Late:
            swallowed.append(1)
        computes()

    monkeypatch.setattr(Reloader, "look", swallows)
    told(signal.SIGTERM)

    assert serve(world.machine, world.places, [str(tmp_path)]) is False
    assert swallowed


@pytest.mark.parametrize("block", [lambda: taken(interruptible=False), waiting])
def test_a_transaction_is_never_broken_off(block):
    """Its waits have deadlines; the alarm comes again when it is over."""
    with ending(), pytest.raises(Late):  # noqa: PT012 — what matters is when
        done = []
        with block():
            within(0.01)
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                pass
            done.append(1)
        assert done
        computes()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.usefixtures("hasty")
def test_a_transaction_under_way_is_completed_before_it_ends(world, tmp_path):
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "p.yaml").write_text(settings(pages=321))

    def slowly(_, path, text):
        if path == PAGES:
            world.machine.before_write = None
            os.kill(os.getpid(), signal.SIGTERM)
            end = time.monotonic() + 1
            while time.monotonic() < end:
                pass

    world.machine.before_write = slowly
    assert serve(world.machine, world.places, [str(policies)]) is False

    assert world.machine.read(PAGES) == "321\n"
    assert not world.places.journal.exists()


def test_who_is_not_free_to_take_policies_away_says_so(world, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "_LAST", 0.2)
    monkeypatch.setattr(Keeper, "leave", lambda _: computes())
    told(signal.SIGTERM)
    with pytest.raises(serving.Busy, match="everything stays as it is"):
        serve(world.machine, world.places, [str(tmp_path)], Wishes(remove=True))


def test_outside_the_first_thread_nothing_is_broken_off():
    ended = []

    def elsewhere():
        with ending():
            within(0.01)
        ended.append(1)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()

    assert ended


def test_a_directory_that_cannot_be_read_is_told(world, tmp_path, monkeypatch):
    reloader = Reloader(Keeper(world.machine, world.places, [str(tmp_path)]), debounce=0.1)
    real = os.listdir

    def listdir(path):
        if path == str(tmp_path):
            raise PermissionError(13, "Permission denied")
        return real(path)

    (tmp_path / "p.yaml").write_text(settings(pages=300))
    assert reloader.look().kind == "applied"
    monkeypatch.setattr(os, "listdir", listdir)
    world.machine.sleep(1)
    reloader.look()
    world.machine.sleep(1)
    reloader.look()
    outcome = reloader.outcome

    assert outcome.kind == "invalid"
    assert f"cannot read `{tmp_path}`: permission denied" in outcome.diagnostics[0].message
    assert world.machine.read(PAGES) == "300\n", "the last good policies stay"
