"""A private instance of tracefs, in a directory instead of the real one."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from damonpolicy.base.errors import KernelLacks
from damonpolicy.kernel.damon import tracing
from damonpolicy.kernel.damon.tracing import AGGREGATED, Tracing, available, remove_leftovers

TUNE = "damon_monitor_intervals_tune"
WITH_HITS = "damon_region_aggregated"
FILES = ("trace_clock", "buffer_size_kb", "buffer_percent", "set_event_pid", "events/damon/enable",
         *(f"events/damon/{event}/enable" for event in (AGGREGATED, WITH_HITS, TUNE)))  # fmt: skip
OLD = ("buffer_percent", *(f"events/damon/{event}/enable" for event in (WITH_HITS, TUNE)))
MKDIR, RMDIR = os.mkdir, os.rmdir
MINE = f"damonpolicy-{os.getpid()}"


class Tracefs:
    """Makes and removes instances as the kernel does: with all their files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.busy = 0
        self.without: tuple[str, ...] = ()
        (root / "instances").mkdir(parents=True)
        (root / f"events/damon/{AGGREGATED}").mkdir(parents=True)
        (root / f"events/damon/{AGGREGATED}/format").write_text("name: x")

    def mkdir(self, path, mode=0o777):
        MKDIR(path, mode)
        if os.path.dirname(path) != str(self.root / "instances"):
            return
        for name in FILES:
            if name not in self.without:
                file = Path(path, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("")
        os.mkfifo(Path(path, "trace_pipe"))

    def rmdir(self, path, **more):
        if os.path.dirname(path) != str(self.root / "instances"):
            RMDIR(path, **more)
            return
        if self.busy:
            self.busy -= 1
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        for below, directories, files in os.walk(path, topdown=False):
            for name in files:
                os.unlink(os.path.join(below, name))
            for name in directories:
                RMDIR(os.path.join(below, name))
        RMDIR(path)

    def read(self, name):
        return (self.root / "instances" / MINE / name).read_text()

    @property
    def instances(self):
        return sorted(os.listdir(self.root / "instances"))


@pytest.fixture
def tracefs(tmp_path, monkeypatch):
    made = Tracefs(tmp_path / "tracing")
    monkeypatch.setattr(tracing, "_PAUSE", 0)
    monkeypatch.setattr(tracing.os, "mkdir", made.mkdir)
    monkeypatch.setattr(tracing.os, "rmdir", made.rmdir)
    yield made
    monkeypatch.undo()


def test_an_instance_is_made_and_removed(tracefs):
    with Tracing(regions=10_000, root=str(tracefs.root)) as traced:
        assert tracefs.instances == [MINE]
        assert tracefs.read("trace_clock") == "boot"
        assert int(tracefs.read("buffer_size_kb")) * 1024 > 10_000 * 60
        assert abs(traced.epoch + time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.time_ns()) < 1e9

    assert tracefs.instances == []
    traced.close()


def test_only_these_kdamonds_are_traced(tracefs):
    with Tracing(root=str(tracefs.root)) as traced:
        traced.follow([])

        assert tracefs.read(f"events/damon/{AGGREGATED}/enable") == ""

        traced.follow([7, 5])

        assert tracefs.read("set_event_pid") == "5 7\n"
        assert tracefs.read(f"events/damon/{AGGREGATED}/enable") == "1"
        assert tracefs.read(f"events/damon/{WITH_HITS}/enable") == "1"
        assert tracefs.read(f"events/damon/{TUNE}/enable") == "1"

        traced.follow([9, 7])

        assert tracefs.read("set_event_pid") == "5 7\n9\n"


def test_an_old_kernel_has_fewer_files(tracefs):
    tracefs.without = OLD
    with Tracing(root=str(tracefs.root)) as traced:
        traced.follow([5])

        assert tracefs.read(f"events/damon/{AGGREGATED}/enable") == "1"


def test_what_is_there_is_read(tracefs):
    with Tracing(root=str(tracefs.root)) as traced:
        pipe = os.open(tracefs.root / "instances" / MINE / "trace_pipe", os.O_WRONLY)
        try:
            assert traced.read(0) == ""

            os.write(pipe, b"a line\nhalf a")

            assert traced.read(60) == "a line\nhalf a"
            assert traced.fileno() >= 0
        finally:
            os.close(pipe)


def test_an_instance_that_is_busy_for_a_moment(tracefs):
    with Tracing(root=str(tracefs.root)):
        tracefs.busy = 3

    assert tracefs.instances == []


def test_one_that_stays_busy_is_told(tracefs, monkeypatch):
    monkeypatch.setattr(tracing, "_PATIENCE", 0)
    traced = Tracing(root=str(tracefs.root))
    tracefs.busy = 1
    with pytest.raises(OSError, match="busy"):
        traced.close()


def test_nothing_is_left_of_what_cannot_begin(tracefs):
    tracefs.without = ("trace_clock",)
    with pytest.raises(FileNotFoundError):
        Tracing(root=str(tracefs.root))

    assert tracefs.instances == []


def test_leftovers_of_the_dead_are_removed(tracefs):
    dead = (1 << 22) + 1  # no process has such a number (PID_MAX_LIMIT)
    for name in (f"damonpolicy-{dead}", "damonpolicy-1", "someone", "damonpolicy-x"):
        (tracefs.root / "instances" / name).mkdir()

    assert remove_leftovers(str(tracefs.root)) == [f"damonpolicy-{dead}"]
    assert tracefs.instances == ["damonpolicy-1", "damonpolicy-x", "someone"]


def test_leftovers_that_someone_uses_stay(tracefs, monkeypatch):
    monkeypatch.setattr(tracing, "_PATIENCE", 0)
    (tracefs.root / "instances" / f"damonpolicy-{(1 << 22) + 1}").mkdir()
    tracefs.busy = 1

    assert remove_leftovers(str(tracefs.root)) == []


def test_whether_it_is_there(tracefs, tmp_path):
    assert available(str(tracefs.root))
    assert not available(str(tmp_path / "nowhere"))


def test_without_tracefs(tmp_path):
    with pytest.raises(KernelLacks, match="there is no tracefs") as caught:
        Tracing(root=str(tmp_path))

    assert "mount -t tracefs" in caught.value.hint
    (tmp_path / "events").mkdir()
    with pytest.raises(KernelLacks, match="lacks trace events"):
        Tracing(root=str(tmp_path))


def test_the_real_machine_is_not_touched(monkeypatch):
    """Tests may not even make an instance."""
    monkeypatch.setattr(tracing.os.path, "isdir", lambda path: True)
    with pytest.raises(PermissionError, match="forbids to write the real machine"):
        Tracing()
