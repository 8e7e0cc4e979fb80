"""Processes and the selectors that name them."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.host import pids, starts
from damonpolicy.kernel.system.processes import Selector, find, inner_id, known_names, numbered
from tests.guest.copied import copied


@pytest.fixture
def machine():
    return EmulatedMachine.create("7.3")


def found(machine, **selector):
    return [process.pid for process in find(machine, Selector(**selector))]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"name": "nginx"}, [530]),
        ({"name": "ngin"}, []),
        ({"name": "qemu-system-x86"}, [811, 815]),
        ({"name": "qemu-system-x86_64"}, [811, 815]),
        ({"name": "qemu-system-x86_"}, []),
        ({"cmdline": r"guest=vm-2\b"}, [815]),
        ({"cmdline": r"-m 512$"}, [811, 815]),
        ({"cmdline": r"^worker"}, []),
        ({"exe": "/usr/sbin/nginx"}, [530]),
        ({"exe": "/usr/bin/qemu-*"}, [811, 815]),
        ({"exe": "/usr/bin/QEMU-*"}, []),
        ({"exe": "qemu-system-x86_64"}, []),
        ({"user": "www-data"}, [530]),
        ({"user": "33"}, [530]),
        ({"user": "nobody-here"}, []),
        ({"cgroup": "/machine.slice"}, [811, 815]),
        ({"cgroup": "machine.slice/"}, [811, 815]),
        ({"cgroup": "/machine.slice/vm-1.scope"}, [811]),
        ({"cgroup": "/machine.slice/vm-1"}, []),
        ({"cgroup": "/"}, [1, 412, 530, 811, 815, 902]),
        ({"pid": 815}, [815]),
        ({"pid": 4242}, []),
        ({"pid": 815, "name": "nginx"}, []),
        ({"name": "qemu-system-x86_64", "cgroup": "/machine.slice/vm-2.scope"}, [815]),
        ({"name": "ksmd"}, []),
        ({}, [1, 412, 530, 811, 815, 902]),
    ],
)
def test_all_that_is_given_has_to_hold(machine, selector, expected):
    assert found(machine, **selector) == expected


def test_a_name_that_is_not_cut_is_the_kernels_word(machine):
    machine.start_process("fifteen-letters", exe="/opt/fifteen-letters-and-more")
    machine.start_process("short", exe="/opt/short-but-longer")

    assert len(found(machine, name="fifteen-letters-and-more")) == 1
    assert found(machine, name="short-but-longer") == []
    assert len(found(machine, name="short")) == 1


def test_the_oldest_come_first_whatever_their_pids(machine):
    machine.start_process("worker", pid=4000)
    machine.start_process("worker", pid=3000)

    assert found(machine, name="worker") == [4000, 3000]


def test_a_pid_that_is_used_again_is_another_process(machine):
    machine.start_process("worker", pid=4000)
    first = find(machine, Selector(pid=4000))[0]
    machine.exit_process(4000)
    assert find(machine, Selector(pid=4000)) == []
    assert starts(machine, 4000) == 0
    machine.sleep(1)
    machine.start_process("worker", pid=4000)
    second = find(machine, Selector(pid=4000))[0]

    assert (first.pid, first.comm) == (second.pid, second.comm)
    assert first.start < second.start == starts(machine, 4000)


def test_odd_contents_of_proc(tmp_path):
    """Parentheses in names, deleted executables, version 1 cgroups, threads, zombies."""
    tail = " S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"
    machine = copied(
        tmp_path,
        {
            "/proc/7/status": "Name:\tx\nUid:\t5\t6\t7\t8\nVmSize:\t 4 kB\nodd line\n",
            "/proc/7/stat": f"7 (a) S 9 (b){tail}",
            "/proc/7/comm": "a) S 9 (b\n",
            "/proc/7/cmdline": "one\0two words\0\0",
            "/proc/7/exe": f"-> {tmp_path}/opt/gone (deleted)",
            "/proc/7/cgroup": "4:memory:/old\n0::/new\n",
            "/proc/8/status": "Name:\tkthread\nUid:\t0\t0\t0\t0\n",
            "/proc/9/status": "Uid:\t0\nVmSize:\t 4 kB\n",
            "/proc/9/stat": "9 (cut",
            "/proc/self": "-> 7",
            "/proc/uptime": "1 2",
        },
    )
    process = find(machine, Selector(pid=7))[0]

    assert pids(machine) == [7, 8, 9]
    assert (process.start, process.comm, process.uid) == (4711, "a) S 9 (b", 5)
    assert (process.exe, process.cgroup) == ("/opt/gone", "/new")
    assert process.cmdline == "one two words"
    assert find(machine, Selector(pid=8)) == []
    (bare,) = find(machine, Selector(pid=9))
    assert (bare.start, bare.exe, bare.cgroup, bare.cmdline) == (0, "", "/", "")
    assert known_names(machine) == ["", "a) S 9 (b"]


def test_a_selector_says_what_it_wants():
    assert str(Selector(name="x", user="y")) == "name: x, user: y"


def test_users_are_those_of_that_machine(tmp_path):
    machine = copied(
        tmp_path,
        {
            "/etc/passwd": "odd\nalice:x:1000:1000::/:/bin/sh\nbob:x:many:1::/:/bin/sh\n",
            "/proc/7/status": "Uid:\t1000\t0\t0\t0\nVmSize:\t4 kB\n",
        },
    )

    assert found(machine, user="alice") == [7]
    assert found(machine, user="bob") == []


CONTAINED = [
    {"name": "postgres", "pid": 4711, "inner_pid": 7, "areas": [{"size": "1MiB"}]},
    {"name": "other", "pid": 4712, "inner_pid": 38, "areas": [{"size": "1MiB"}]},
    {"name": "plain", "pid": 4713, "areas": [{"size": "1MiB"}]},
]


def test_threads_are_found_by_the_number_in_their_own_pid_namespace():
    machine = EmulatedMachine.create("damon-next", spec={"processes": CONTAINED})

    assert {each: inner_id(machine, each) for each in (4711, 4712, 4713, 38, 9999)} == {
        4711: 7, 4712: 38, 4713: 4713, 38: 38, 9999: 0,
    }  # fmt: skip
    assert numbered(machine, [7, 38, 4711, 4713]) == {7: [4711], 38: [4712], 4711: [], 4713: [4713]}
    assert numbered(machine, []) == {}
    assert machine.resolve("/proc/4711/ns/pid") != machine.resolve("/proc/4713/ns/pid")


def test_threads_that_end_meanwhile_are_none(tmp_path):
    status = "Name:\tx\nNSpid:\t{}\nVmSize:\t1 kB\n"
    machine = copied(tmp_path, {
        "/proc/5/status": status.format("5\t1"),
        "/proc/6/status": status.format("6"),
        "/proc/6/task/6/status": status.format("6"),
        "/proc/6/task/9/status": status.format("9"),
        "/proc/6/task/10/comm": "gone",
    })  # fmt: skip

    assert numbered(machine, [1, 6, 9, 10]) == {1: [], 6: [6], 9: [9], 10: []}


def test_a_command_line_that_invites_to_try_everything_is_looked_through_once(machine):
    """Trying one way after the other would take 2 to the power of 60 steps."""
    machine.start_process("evil", cmdline="x" * 60)
    assert found(machine, cmdline="(x+)+y") == []
