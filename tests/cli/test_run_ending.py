"""`run` and its signals: nothing makes it deaf, and a start is no reason to die of one."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from damonpolicy.daemon import serve as serving
from damonpolicy.daemon.ending import Late, ending, within
from damonpolicy.daemon.reload import Reloader
from damonpolicy.daemon.serve import serve
from damonpolicy.engine.signals import taken, waiting
from damonpolicy.errors import ExitCode
from tests.cli.test_run import start  # noqa: F401 — a fixture
from tests.conftest import run_cli
from tests.daemon.conftest import PAGES, _leases, settings, world  # noqa: F401 — fixtures

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
    number,  # noqa: F811
):
    monkeypatch.setattr(Reloader, "look", lambda reloader: computes())
    began = time.monotonic()
    told(number)

    assert serve(world.machine, world.places, [str(tmp_path)]) is False
    assert time.monotonic() - began < SECONDS / 2
    assert not world.places.service.exists()


@pytest.mark.usefixtures("hasty")
def test_what_swallows_everything_once_does_not_make_it_deaf(world, tmp_path, monkeypatch):  # noqa: F811
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
def test_a_transaction_under_way_is_completed_before_it_ends(world, tmp_path):  # noqa: F811
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


def test_who_is_not_free_to_take_policies_away_says_so(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(serving, "_LAST", 0.2)
    monkeypatch.setattr(serving, "leave", lambda _: computes())
    told(signal.SIGTERM)
    with pytest.raises(serving.Busy, match="everything stays as it is"):
        serve(world.machine, world.places, [str(tmp_path)], remove=True)


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


def test_sighup_while_it_starts_is_no_reason_to_end(monkeypatch, tmp_path):
    """Whatever it asks for is done anyway: everything is read at the start."""
    survived = []

    def starts(*_, **__):
        os.kill(os.getpid(), signal.SIGHUP)
        survived.append(1)
        return False

    monkeypatch.setattr(serving, "serve", starts)
    before = signal.getsignal(signal.SIGHUP)
    outcome = run_cli(
        "run", "--kernel", "emulated:7.3", "--state-dir", str(tmp_path / "s"), str(tmp_path)
    )

    assert outcome.code == ExitCode.OK, outcome.err
    assert survived
    assert signal.getsignal(signal.SIGHUP) == before


def test_sighup_again_and_again_from_the_first_moment(start):  # noqa: F811
    running = start()
    running.wait_for(lambda: running.log.read_text() or os.path.exists(
        running.directory / "state" / "run" / "service.lock"))  # fmt: skip
    for _ in range(200):
        running.process.send_signal(signal.SIGHUP)
        time.sleep(0.005)
    running.wait_for(lambda: running.events("reload"))

    assert running.end() == ExitCode.OK


TEXTS = {
    "lone-surrogate": b"version: 1\nname: p\ndescription: '{{ \"\\ud800\" }}'\nsettings: {}\n",
    "surrogate-setting": b"version: 1\nname: p\nsettings: {/sys/kernel/mm/ksm/run: '{{ \"\\ud800\" }}'}\n",
    "not-utf-8": b"version: 1\nname: \xff\xfe\n",
    "nul": b"version: 1\nname: p\x00\n",
    "huge": b"# " + b"x" * (2 << 20),
    "deep": b"version: 1\nname: " + b"[" * 5000 + b"]" * 5000 + b"\n",
    "alias-bomb": b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nversion: 1\nname: p\n",
    "long-line": b"version: 1\nname: " + b"n" * 500_000 + b"\n",
    "empty": b"",
}


def test_no_text_of_a_policy_ends_it(start):  # noqa: F811
    running = start()
    running.wait_for(lambda: running.events("reload"))
    for name, text in TEXTS.items():
        path = running.policies / f"{name}.yaml"
        count = len(running.events("reload"))
        path.write_bytes(text)
        running.wait_for(lambda count=count: len(running.events("reload")) > count)
        path.unlink()
    (running.policies / "p.yaml").write_text(settings(pages=300))
    running.wait_for(lambda: running.pages() == "300")

    assert not running.events("job failed"), "each is the outcome of a reload"
    assert running.end() == ExitCode.OK


def test_a_directory_that_cannot_be_read_is_told(world, tmp_path, monkeypatch):  # noqa: F811
    reloader = Reloader(world.machine, world.places, [str(tmp_path)], debounce=0.1)
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
