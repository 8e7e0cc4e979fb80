"""Hints that files have changed: all that matters is that they come."""

from __future__ import annotations

import shutil
import threading

import pytest

from damonpolicy.daemon.watch import Watch

SECONDS = 20


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
