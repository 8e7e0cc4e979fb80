"""The only opener of the machine's files: its root, its errors, and what it refuses to tests."""

from __future__ import annotations

import errno
import os

import pytest

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.journal import Before, Header, begin
from damonpolicy.engine.lock import exclusive
from damonpolicy.engine.state_directory import make_directory, write_json
from damonpolicy.kernel.system import machine as sysfs
from damonpolicy.kernel.system.machine import (
    FORBID,
    KDAMONDS,
    Entry,
    LiveMachine,
    entries,
    forbid_live,
    read_or,
    read_value,
)
from damonpolicy.plan.state import Managed
from tests.guest.copied import copied

LIVE = (
    f"{KDAMONDS}/nr_kdamonds",
    f"{KDAMONDS}/0/state",
    "/sys/kernel/mm/ksm/run",
    "/sys/module/damon_stat/parameters/enabled",
    "/proc/sys/vm/swappiness",
    "/proc/sys/kernel/numa_balancing",
    "/run/damonpolicy/state.json",
    "/var/lib/damonpolicy/confirmed.json",
)
"""Of the real machine; nothing of it is opened here even if a refusal were missing."""


@pytest.fixture
def nothing_opens(monkeypatch):
    """Let every attempt to open a file for writing, or to make one, fail the test."""
    opened = os.open

    def guarded(path, flags, *rest, **options):
        assert not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT), f"{path} was opened to write"
        return opened(path, flags, *rest, **options)

    def never(*arguments, **options):
        raise AssertionError(f"the real machine was reached: {arguments}")

    monkeypatch.setattr(os, "open", guarded)
    for name in ("mkdir", "replace", "rename", "unlink"):
        monkeypatch.setattr(os, name, never)


def disguises(path, directory):
    """Other ways to write the same path."""
    link = directory / "link"
    link.symlink_to("/")
    deep = directory / "deep"
    deep.symlink_to(link / path.split("/")[1])
    yield path
    yield f"{link}{path}"
    yield "/".join([str(deep), *path.split("/")[2:]])
    yield f"/tmp/..{path}"
    yield f"/proc/self/root{path}"
    yield "/" + path.replace("/", "//").lstrip("/")
    yield os.path.relpath(path)


@pytest.mark.parametrize("path", LIVE)
def test_nothing_of_the_real_machine_is_written(path, tmp_path, nothing_opens):
    assert os.environ[FORBID]
    for disguise in disguises(path, tmp_path):
        with pytest.raises(PermissionError, match=FORBID):
            LiveMachine().write(disguise, "1")
        with pytest.raises(PermissionError):
            LiveMachine(str(tmp_path / "link")).write(disguise, "1")
        with pytest.raises(PermissionError):
            LiveMachine("/proc/self/root").write(disguise, "1")


@pytest.mark.parametrize("place", ["/run/damonpolicy", "/var/lib/damonpolicy", "/sys/x"])
def test_neither_is_a_file_of_our_own_state(place, tmp_path, nothing_opens):
    link = tmp_path / "link"
    link.symlink_to("/")
    header = Header("t", "b", 1, Before({}, {}, {}), (), {}, Managed("b"))
    for directory in (place, f"{link}{place}"):
        path = type(link)(directory) / "file"
        for refused in (
            lambda path=path: make_directory(path.parent),
            lambda path=path: write_json(path, {}),
            lambda path=path: begin(path, header),
            lambda path=path: exclusive(path, wait=False).__enter__(),
        ):
            with pytest.raises(PermissionError, match=FORBID):
                refused()


def test_a_place_that_is_itself_a_link_is_refused_too(tmp_path, monkeypatch):
    """`/run` is a link to `/var/run` on some machines."""
    (tmp_path / "real").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "real")
    monkeypatch.setattr(sysfs, "_LIVE_PLACES", (str(tmp_path / "run"),))

    for name in ("run", "real"):
        with pytest.raises(PermissionError):
            forbid_live(str(tmp_path / name / "file"))


def test_what_only_begins_alike_is_free(monkeypatch):
    for path in ("/sysadmin/file", "/processes", "/run/damonpolicy-test/file", "/tmp/x"):
        forbid_live(path)
    monkeypatch.delenv(FORBID)
    for path in LIVE:
        forbid_live(path)


def test_live_writes_are_one_call_and_follow_no_root(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    calls = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: calls.append(data) or write(fd, data))

    LiveMachine().write(str(file), "wörd\n")

    assert calls == ["wörd\n".encode()]
    assert file.read_text() == "wörd\n"


def test_a_short_write_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os, "write", lambda fd, data: len(data) - 1)

    with pytest.raises(OSError, match="short write: 2 of 3 bytes") as caught:
        LiveMachine().write(str(tmp_path / "file"), "abc")
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("way", ["x/../file", "./file", "/file", "x/"])
def test_nobody_is_led_astray_by_a_path(tmp_path, way):
    """A plan is a file: what it names has to be what it seems to name."""
    (tmp_path / "x").mkdir()
    (tmp_path / "file").write_text("before")

    with pytest.raises(PermissionError):
        LiveMachine().write(f"{tmp_path}/{way}", "1")
    assert (tmp_path / "file").read_text() == "before"


def test_a_write_makes_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        LiveMachine().write(str(tmp_path / "absent"), "1")
    assert not (tmp_path / "absent").exists()


def test_a_root_is_put_before_every_path(tmp_path):
    machine = copied(tmp_path, {"/a/10": "x\n", "/a/9/f": "", "/a/b": "", "/l": "-> a/10"})

    assert machine.name == f"root:{tmp_path}"
    assert not machine.writable
    assert machine.read("/a/10") == "x\n"
    assert read_value(machine, "/a/10") == "x"
    assert machine.scan("/a") == [Entry("9", True), Entry("10", False), Entry("b", False)]
    assert entries(machine, "/a") == ["9", "10", "b"]
    assert entries(machine, "/nowhere") == []
    assert machine.exists("/l")
    assert not machine.exists("/m")
    assert machine.resolve("/l") == "/a/10"
    assert machine.mode("/a/10") == (tmp_path / "a/10").stat().st_mode & 0o777
    with pytest.raises(PermissionError, match="reading only"):
        machine.write("/a/10", "y")
    assert machine.read("/a/10") == "x\n"


def test_the_root_itself_is_live():
    for root in ("/", "//", "/."):
        assert LiveMachine(root).name == "live"
        assert LiveMachine(root).writable


def test_errors_keep_the_kernels_number(tmp_path):
    machine = copied(tmp_path, {"/file": "x"})

    for path, number in (("/no", errno.ENOENT), ("/file/x", errno.ENOTDIR), ("/", errno.EISDIR)):
        with pytest.raises(OSError) as caught:  # noqa: PT011 — the number is what counts
            machine.read(path)
        assert caught.value.errno == number
        assert read_or(machine, path, "other") == "other"


def test_bytes_that_are_no_text_come_back_as_they_were(tmp_path):
    (tmp_path / "file").write_bytes(b"\xff\x00a\n")
    text = LiveMachine(str(tmp_path)).read("/file")

    LiveMachine().write(str(tmp_path / "file"), text)

    assert (tmp_path / "file").read_bytes() == b"\xff\x00a\n"


def test_long_files_are_read_to_their_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "_CHUNK", 7)
    (tmp_path / "file").write_text("0123456789" * 5)

    assert LiveMachine(str(tmp_path)).read("/file") == "0123456789" * 5


def test_the_live_clock_goes_on(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    first = LiveMachine().monotonic()
    LiveMachine().sleep(3)

    assert LiveMachine().monotonic() >= first > 0
    assert slept == [3]


def test_only_the_final_newline_goes():
    machine = EmulatedMachine.create("7.3")
    machine.write("/sys/kernel/mm/ksm/run", "1\n")

    assert read_value(machine, "/sys/kernel/mm/ksm/run") == "1"
    assert read_or(machine, "/nowhere") == ""


def test_the_lock_and_the_state_refuse_politely(tmp_path):
    """A place that cannot be written is a sentence, not an OSError."""
    (tmp_path / "file").write_text("")
    for refused in (
        lambda: make_directory(tmp_path / "file/x"),
        lambda: write_json(tmp_path / "file/x/y", {}),
        lambda: exclusive(tmp_path / "file/x/lock", wait=False).__enter__(),
        lambda: exclusive(tmp_path, wait=False).__enter__(),
    ):
        with pytest.raises(DamonPolicyError) as caught:
            refused()
        assert str(tmp_path) in caught.value.message


class TestBusy:
    """DAMON's files are busy while anyone's command waits for its kdamond."""

    @pytest.fixture
    def busy(self, tmp_path, monkeypatch):
        """A file that is busy for some seconds of a clock that only sleeping moves."""
        (tmp_path / "pid").write_text("75\n")
        clock = [0.0]
        real = os.read

        def read(descriptor, size):
            if clock[0] < self.seconds:
                raise OSError(errno.EBUSY, "Device or resource busy")
            return real(descriptor, size)

        monkeypatch.setattr(os, "read", read)
        monkeypatch.setattr(LiveMachine, "monotonic", lambda _: clock[0])
        monkeypatch.setattr(
            LiveMachine, "sleep", lambda _, seconds: clock.__setitem__(0, clock[0] + seconds)
        )
        return LiveMachine(), str(tmp_path / "pid")

    def test_for_a_moment_it_is_waited_for(self, busy):
        self.seconds = 3
        machine, path = busy

        assert machine.read(path) == "75\n"

    def test_for_long_it_is_an_error(self, busy):
        self.seconds = 1000
        machine, path = busy

        with pytest.raises(OSError, match="busy") as refused:
            machine.read(path)
        assert refused.value.errno == errno.EBUSY


def test_only_the_live_machine_is_the_one_we_run_on(tmp_path):
    assert LiveMachine().here
    assert not LiveMachine(str(tmp_path)).here
    assert not EmulatedMachine.create("7.3").here
