"""Interruptible waits."""

from __future__ import annotations

import os
import resource
import threading
import time
from contextlib import closing

import pytest

from damonpolicy.daemon.wake import Wake, beat


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
