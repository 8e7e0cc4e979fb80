"""Hints that files have changed arrive."""

from __future__ import annotations

import os
import shutil
import struct
import threading
from pathlib import Path

import pytest

from damonpolicy.daemon.jobs.reload import ReloadJob
from damonpolicy.daemon.watch import Watch
from tests.daemon.conftest import PAGES, settings

SECONDS = 120


class Hints:
    """Counts hints, and waits for the next one."""

    def __init__(self):
        self.event = threading.Event()

    def __call__(self):
        self.event.set()

    def come(self):
        return self.event.wait(SECONDS)

    def forget(self):
        self.event.clear()


@pytest.fixture
def watched(tmp_path):
    directory = tmp_path / "policies"
    directory.mkdir()
    hints = Hints()
    watch = Watch([str(directory)], hints)
    watch.start()
    yield directory, hints, watch
    watch.stop()


def test_a_file_that_is_written_renamed_or_removed(watched):
    directory, hints, _ = watched
    for change in (
        lambda: (directory / "a.yaml").write_text("x"),
        lambda: (directory / "a.yaml").rename(directory / "b.yaml"),
        (directory / "b.yaml").unlink,
    ):
        hints.forget()
        change()
        assert hints.come()


def test_a_directory_that_is_made_anew(watched):
    directory, hints, watch = watched
    shutil.rmtree(directory)
    assert hints.come()
    watch.rearm()
    hints.forget()
    directory.mkdir()
    assert hints.come()
    watch.rearm()
    hints.forget()
    (directory / "a.yaml").write_text("x")

    assert hints.come()


def test_where_a_link_leads(watched, tmp_path):
    directory, hints, watch = watched
    aside = tmp_path / "aside"
    aside.mkdir()
    (aside / "a.yaml").write_text("x")
    (directory / "a.yaml").symlink_to(aside / "a.yaml")
    assert hints.come()
    watch.rearm()
    hints.forget()
    (aside / "a.yaml").write_text("y")

    assert hints.come()


def test_what_is_not_there_is_no_trouble(tmp_path):
    watch = Watch([str(tmp_path / "none" / "policies")], lambda: None)
    watch.start()
    watch.rearm()
    watch.stop()


class Reading:
    """What is read from inotify, which can be ``held`` up.

    ``overflow``: the kernel says that it lost some.
    """

    def __init__(self, monkeypatch):
        self.goes_on, self.held, self.overflow = (threading.Event() for _ in range(3))
        self.goes_on.set()
        self._read = os.read
        monkeypatch.setattr(os, "read", self.read)

    def read(self, descriptor, size):
        if os.readlink(f"/proc/self/fd/{descriptor}") != "anon_inode:inotify":
            return self._read(descriptor, size)
        if not self.goes_on.is_set():
            self.held.set()
        assert self.goes_on.wait(SECONDS)
        data, at = self._read(descriptor, size), 0
        while at < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, at)
            if mask & 0x4000:  # IN_Q_OVERFLOW (inotify(7))
                self.overflow.set()
            at += 16 + length
        return data


def test_more_events_than_the_kernel_keeps(desk, monkeypatch):
    """The last edit is one of those that are lost; the hints before it are enough."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text("ascii"))
    if most > 100_000:
        pytest.skip(f"{most} events are too many to make")
    desk.put("p.yaml", settings(pages=200))
    reading, hints, job = Reading(monkeypatch), Hints(), ReloadJob(desk.reloader)
    job.run()
    watch = Watch([str(desk.directory)], lambda: (job.hint(), hints()))

    def serve():
        for _ in range(10):
            desk.world.machine.sleep(max(job.due - desk.world.machine.monotonic(), 0))
            job.run()

    watch.start()
    try:
        reading.goes_on.clear()
        one, other = desk.directory / ".one", desk.directory / ".other"
        one.touch()
        assert reading.held.wait(SECONDS), "a read that was under way takes no more of them"
        for _ in range(most // 4 + 100):  # what is the same as the event before counts once
            one.rename(other)
            other.rename(one)
        desk.put("p.yaml", settings(pages=300))
        reading.goes_on.set()
        assert reading.overflow.wait(SECONDS)
        assert hints.come()
        serve()
        assert desk.read(PAGES) == "300"

        hints.forget()
        desk.put("p.yaml", settings(pages=400))
        assert hints.come(), "it goes on"
        serve()
        assert desk.read(PAGES) == "400"
    finally:
        reading.goes_on.set()
        watch.stop()
