"""The guest is a guest: a real kernel of its own, and nothing of the machine around it."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

import pytest

from .marker import in_guest, token
from .patient import write

KDAMONDS = Path("/sys/kernel/mm/damon/admin/kdamonds")


def test_it_is_a_guest_with_a_marker() -> None:
    """The token stands on the kernel's command line, and the root comes over virtiofs."""
    assert token()
    assert in_guest()


def test_the_kernel_is_the_one_that_was_asked_for() -> None:
    """Release and boot are the guest's own."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    assert os.environ["DAMONPOLICY_KERNEL_RELEASE"] == platform.release()
    assert os.environ["DAMONPOLICY_HOST_BOOT"] != boot


def test_the_live_kernel_may_be_written() -> None:
    """Only the guest's init lifts what the test suite forbids everywhere."""
    assert "DAMONPOLICY_FORBID_LIVE" not in os.environ


def test_damon_is_there_and_takes_a_write() -> None:
    """The tree is the guest's: what is written here must not show on the machine around."""
    assert (KDAMONDS / "nr_kdamonds").read_text(encoding="ascii") == "0\n"

    write(KDAMONDS / "nr_kdamonds", 3)

    assert sorted(path.name for path in KDAMONDS.iterdir() if path.is_dir()) == ["0", "1", "2"]

    write(KDAMONDS / "nr_kdamonds", 0)


def test_the_kernel_is_not_tainted_at_boot() -> None:
    """Else a warning that a test provokes would not be noticed: see conftest.py."""
    assert Path("/proc/sys/kernel/tainted").read_text(encoding="ascii") == "0\n"


def test_damon_is_free() -> None:
    """No module holds DAMON for itself."""
    for parameter in Path("/sys/module").glob("damon_*/parameters/enabled"):
        assert parameter.read_text(encoding="ascii") == "N\n", parameter


@pytest.mark.parametrize("place", ["sys/kernel", "proc/self"])
def test_the_host_is_not_seen_through_its_root(place: str) -> None:
    """The root was bound without what is mounted on it: live /sys least of all."""
    assert not Path("/run/host", place).exists()


def test_the_root_cannot_be_written() -> None:
    """Not even by a guest's root who remounts it."""
    os.system("mount -o remount,rw / 2>/dev/null")

    with pytest.raises(OSError, match="Read-only file system"):
        Path("/usr/damonpolicy-was-here").write_text("", encoding="ascii")


@pytest.mark.parametrize(
    "place", ["/run", "/var/lib/damonpolicy", "/var/tmp", "/tmp", "/mnt", "/dev/shm"]
)
def test_state_has_a_place(place: str) -> None:
    """All that damonpolicy and its tests write has a writable directory."""
    probe = Path(place, "probe")

    probe.write_text("x", encoding="ascii")

    assert probe.read_text(encoding="ascii") == "x"

    probe.unlink()


def test_file_systems_of_the_kernel_are_mounted() -> None:
    """What DAMON's tests look at: cgroups of version 2, tracing, debugfs."""
    assert "memory" in Path("/sys/fs/cgroup/cgroup.controllers").read_text(encoding="ascii")
    assert Path("/sys/kernel/tracing/events/damon").is_dir()
    assert Path("/sys/kernel/debug/sched").is_dir()


def test_two_nodes() -> None:
    """Two nodes with memory and a CPU each."""
    for node in (0, 1):
        base = Path(f"/sys/devices/system/node/node{node}")

        assert str(node) == (base / "cpulist").read_text(encoding="ascii").strip()
        assert "MemTotal" in (base / "meminfo").read_text(encoding="ascii")


def test_loopback_and_name() -> None:
    """Local sockets work, for the exporter's tests."""
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())

    assert socket.gethostname() == "guest"
