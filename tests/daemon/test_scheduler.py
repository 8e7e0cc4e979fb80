"""Jobs, their waits, and signs of life while rounds end or the kernel has time left to answer."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from contextlib import closing

import pytest

from damonpolicy.daemon.app import serve
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.daemon.scheduler import AliveJob, Service, Wake, beat
from damonpolicy.daemon.sd_notify import Notifier
from damonpolicy.engine import waiting
from damonpolicy.engine.execute import OperationFailed, perform
from damonpolicy.kernel.damon.tree import kdamond_path
from damonpolicy.kernel.operation import Operation
from tests.daemon.conftest import PAGES, RUN

INTERVAL = 60.0
COMMIT = Operation("command", "commit", kdamond_path(0, "state"), "on", "commit", 0)
POLICY = """
version: 1
name: r
kdamonds:
  - {name: k, ops: paddr, targets: [{system_ram: true}], schemes: [{name: s, action: stat}]}
"""


class Sleeping:
    """The live machine as far as commands go; its kdamond answers when it wakes up."""

    here = True

    def __init__(self, machine):
        self.machine, self.awake = machine, threading.Event()

    def write(self, path, text):
        self.awake.wait()

    def __getattr__(self, name):
        return getattr(self.machine, name)


class Asking:
    """A job that does something once."""

    due, readable = 0.0, None

    def __init__(self, do):
        self.do = do

    def run(self):
        self.do()
        self.due = float("inf")


class Signs(Notifier):
    """What systemd gets to know."""

    def __init__(self):
        super().__init__("")
        self.given = []

    def _send(self, *lines):
        self.given.append(lines)


@pytest.fixture
def sleeping(desk, monkeypatch):
    monkeypatch.setattr(waiting, "_SLICE", 0.0001)
    desk.put("r.yaml", POLICY)
    assert desk.rest().ok
    made = Sleeping(desk.world.machine)
    yield made
    made.awake.set()


def served(machine, do, each=lambda: None):
    """One round of a service with one job; ``each`` happens again and again while it waits."""
    signs = Signs()
    alive = AliveJob(machine, signs, INTERVAL, due=machine.monotonic() + INTERVAL)
    with closing(Wake()) as wake, waiting.meanwhile(each), waiting.meanwhile(alive.waiting):
        Service(machine, wake, [Asking(do), alive]).step()
    return signs.given


def test_a_kdamond_that_answers_after_minutes_is_no_reason_to_be_killed(sleeping):
    begin = sleeping.monotonic()

    def each():
        if sleeping.monotonic() - begin > 300:
            sleeping.awake.set()  # how long it really takes to wake up is not counted
        else:
            sleeping.sleep(7)

    given = served(sleeping, lambda: perform(sleeping, COMMIT, 630), each)

    assert 4 <= len(given) <= 5, "one in 60 s, and the wait took 300"
    assert set(given) == {("WATCHDOG=1", "EXTEND_TIMEOUT_USEC=120000000")}


def test_who_hangs_without_a_deadline_gives_no_sign(sleeping):
    seen = served(sleeping, lambda: sleeping.sleep(300))

    assert seen == [("WATCHDOG=1",)], "only once the round has ended"


def test_after_the_deadline_the_wait_is_over(sleeping):
    def ask():
        with pytest.raises(OperationFailed, match="ETIMEDOUT"):
            perform(sleeping, COMMIT, 0.01)

    served(sleeping, ask)
    given = served(sleeping, lambda: sleeping.sleep(300))
    assert given == [("WATCHDOG=1",)], "although the write itself still waits"


PACE = f"""
version: 1
name: pace
settings: {{{RUN}: 1, {PAGES}: 100}}
tuning:
  - name: scan
    setting: {PAGES}
    from: {{file: FILE}}
    bounds: {{min: 50, max: 1000}}
    every: 10s
"""


def test_a_loop_whose_policy_ends_and_comes_back_begins_anew(world, tmp_path, monkeypatch):
    """However soon: what it learned was of another time."""
    policies, number = tmp_path / "p", tmp_path / "number"
    policies.mkdir()
    number.write_text("500")
    seen = []

    def run(service, ready):
        (tune,) = (each for each in service.jobs if isinstance(each, TuneJob))
        for there in (True, False, True):
            path = policies / "p.yaml"
            path.write_text(PACE.replace("FILE", str(number))) if there else path.unlink()
            for _ in range(4):
                service.jobs[0].hint()
                service.step()
                service.machine.sleep(0.5)
            seen.append(tuple(tune._running.values()))

    monkeypatch.setattr(Service, "run", run)
    serve(world.machine, world.places, [str(policies)])

    (first,), nothing, (second,) = seen
    assert not nothing
    assert first is not second


def test_the_service_gives_signs_of_life_until_it_is_stopped(world, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    def run(service, ready):
        waiting.tick()
        waiting.tick()
        service.machine.sleep(10)
        service.stop()
        waiting.tick()

    monkeypatch.setattr(Service, "run", run)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        assert not serve(world.machine, world.places, [str(tmp_path)])
        said = systemd.recv(4096).decode(), systemd.recv(4096).decode()

    assert said == ("WATCHDOG=1\nEXTEND_TIMEOUT_USEC=20000000", "STOPPING=1")


@pytest.fixture
def wake():
    with closing(Wake()) as made:
        yield made


class Pipe:
    def __init__(self):
        self.reader, self.writer = os.pipe()

    def fileno(self):
        return self.reader

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


def test_time_ends_it(wake):
    begin = time.monotonic()

    assert wake.wait(0.05) == []
    assert time.monotonic() - begin >= 0.05
    assert wake.wait(-1) == []


def test_a_hint_ends_it_be_it_early_and_often(wake):
    for _ in range(100_000):
        wake.now()
    begin = time.monotonic()
    while wake.wait(60):
        pass
    alarm = threading.Timer(0.05, wake.now)
    alarm.start()
    wake.wait(60)
    alarm.join()

    assert time.monotonic() - begin < 60, "the hint ended it, and not time"


def test_what_can_be_read_ends_it(wake):
    with closing(Pipe()) as silent, closing(Pipe()) as told:
        os.write(told.writer, b"!")

        assert wake.wait(60, [silent, told]) == [told]


def test_descriptors_may_be_many():
    """Those of select() end at 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("no process may have so many here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1050)]
    try:
        with closing(Wake()) as wake:
            wake.now()
            assert wake.wait(60) == []
    finally:
        for each in many:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_beat_is_shared_by_who_looks_as_often_or_some_times_more_seldom():
    assert beat(100.3, 2.0) == 102
    assert beat(102.0, 2.0) == 104, "never now"
    assert {beat(now, 5.0) for now in (100.0, 101.7, 104.9)} == {105}
    assert {beat(now, 1.0) for now in (104.0, 104.9)} == {105}
