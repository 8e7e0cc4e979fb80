"""The processes in a cgroup and below it."""

from __future__ import annotations

import errno

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.cgroups import MOUNT, Members, identities
from damonpolicy.kernel.system.machine import LiveMachine


@pytest.fixture
def machine():
    made = EmulatedMachine.create("7.3")
    for path in ("/a", "/a/b", "/c"):
        made.make_cgroup(path)
    made.pids = {path: made.start_process("x", cgroup=path) for path in ("/a", "/a/b", "/c")}
    return made


def spread(machine, path):
    """Make a cgroup one whose threads are spread: it does not list processes."""
    real = machine.read

    def read(name):
        if name == f"{MOUNT}{path}/cgroup.procs":
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(name)

    machine.read = read


def test_who_is_in_it_and_below(machine):
    assert Members(machine, "/a").read() == {machine.pids["/a"], machine.pids["/a/b"]}
    assert Members(machine, "c/").read() == {machine.pids["/c"]}
    assert Members(machine, "/none").read() == set()


def test_a_cgroup_of_threads_cannot_tell(machine):
    spread(machine, "/a/b")
    assert Members(machine, "/a/b").read() is None
    assert Members(machine, "/a").read() == {machine.pids["/a"]}


def test_without_version_2_nobody_can(machine):
    machine.exists = lambda path: False
    assert Members(machine, "/a").read() is None


def test_directories_are_listed_when_cgroups_came_or_went_only(machine):
    members, scans, real = Members(machine, "/a"), [], machine.scan
    machine.scan = lambda path: scans.append(path) or real(path)
    members.read()
    assert len(scans) == 2
    assert members.read() == {machine.pids["/a"], machine.pids["/a/b"]}
    assert len(scans) == 2
    machine.make_cgroup("/a/d")
    machine.move_process(machine.pids["/c"], "/a/d")
    assert members.read() == set(machine.pids.values())
    machine.move_process(machine.pids["/c"], "/c")
    machine.remove_cgroup("/a/d")
    machine.make_cgroup("/a/e")
    machine.move_process(machine.pids["/c"], "/a/e")
    assert members.read() == set(machine.pids.values()), "as many as before, but others"
    for pid in machine.pids.values():
        machine.exit_process(pid)
    for path in ("/a/b", "/a/e", "/a"):
        machine.remove_cgroup(path)
    assert members.read() == set()
    with pytest.raises(FileNotFoundError):
        machine.move_process(1, "/a")


def test_a_path_means_another_cgroup_once_it_was_made_again(machine):
    before = identities(machine, ["/a/b", "/c", "/none"])
    assert sorted(before) == ["/a/b", "/c"], "what is not there is none"
    machine.exit_process(machine.pids["/c"])
    machine.remove_cgroup("/c")
    machine.make_cgroup("/c")
    after = identities(machine, ["/a/b", "/c"])

    assert after["/a/b"] == before["/a/b"]
    assert after["/c"] not in (0, before["/c"])


def test_the_inode_number_of_a_copy_says_nothing(tmp_path):
    (tmp_path / "sys/fs/cgroup/a").mkdir(parents=True)
    copied = LiveMachine(str(tmp_path))

    assert identities(copied, ["/a", "/b"]) == {"/a": 0}
    assert LiveMachine().identity(str(tmp_path)) == tmp_path.stat().st_ino
