"""Reads of /proc and cgroups that come too late, or are forbidden, break nothing."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.daemon.jobs.follow import Follower, FollowJob
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.prepare import prepare
from damonpolicy.kernel.system import cgroups, host, numa_maps
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.processes import Selector, Table, find, known_names
from damonpolicy.plan.bind import bind, members
from tests.conftest import run_cli
from tests.daemon.faulty import Faulty
from tests.daemon.followed import AREA, WATCH, watched

ERRORS = (
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    ProcessLookupError(errno.ESRCH, "No such process"),
    NotADirectoryError(errno.ENOTDIR, "Not a directory"),
    PermissionError(errno.EACCES, "Permission denied"),
    PermissionError(errno.EPERM, "Operation not permitted"),
    OSError(errno.ENODEV, "No such device"),
)
SELECTORS = (
    {"name": "worker"},
    {"exe": "/usr/bin/worker"},
    {"cmdline": "worker"},
    {"user": "www-data"},
    {"cgroup": "/a"},
    {"pid": 1},
)
errors = pytest.mark.parametrize("error", ERRORS, ids=lambda error: errno.errorcode[error.errno])


@pytest.fixture
def faulty(desk):
    machine = desk.world.machine
    for path in ("/a", "/a/b"):
        machine.make_cgroup(path)
        desk.world.machine.start_process("worker", areas=[AREA], cgroup=path, cmdline="worker 1")
    desk.machine = Faulty(machine, ("/proc", cgroups.MOUNT, "/etc/passwd"))
    return desk


def at_every_position(machine, error, do):
    """Let each look of what is done fail once; returns what it gave each time."""
    machine.arm(-1, None)
    do()
    found = []
    for position in range(machine.calls):
        machine.arm(position, error)
        try:
            found.append(do())
        except DamonPolicyError as told:
            found.append(told)
    machine.arm(-1, None)
    return found


@errors
@pytest.mark.parametrize("selector", SELECTORS, ids=str)
def test_processes_are_found_whatever_happens_to_others(faulty, error, selector):
    machine = faulty.machine
    right = find(machine, Selector(**selector))
    found = at_every_position(machine, error, lambda: find(machine, Selector(**selector)))
    assert all({each.pid for each in got} <= {each.pid for each in right} for got in found)
    if "pid" not in selector:
        others = [got for got in found if got == right]
        assert len(others) > len(found) / 2, "most of what fails concerns somebody else"


@errors
def test_what_else_is_looked_up_never_breaks(faulty, error):
    machine = faulty.machine
    table, group = Table(machine), cgroups.Members(machine, "/a")

    def look():
        machine.machine.sleep(120)
        table.update(None, ["/a"])
        table.update({1, 4711}, ["/a"])
        known_names(machine)
        group.read()
        cgroups.subtree(machine, "/a")
        cgroups.has_memory(machine, "/a")
        host.busy_modules(machine)
        host.cpu_seconds(machine, 1)
        numa_maps.process_nodes(machine, 1)
        return host.look(machine)

    found = at_every_position(machine, error, look)
    assert len(found) > 50
    table.forget()
    look()

    assert len(table.find(machine, Selector(name="worker"))) == 2


@errors
def test_kdamonds_are_bound_to_who_is_left(faulty, error):
    machine = faulty.machine
    (policy,) = faulty.world.compile("w", text=WATCH).values()
    (kdamond,) = policy.kdamonds
    right = members(kdamond, machine)
    assert len(right) == 2
    for got in at_every_position(machine, error, lambda: bind(kdamond, machine)):
        assert isinstance(got, DamonPolicyError) or set(got.members) <= {
            *right, *((pid, 0) for pid, _ in right)
        }  # fmt: skip
    managed = faulty.world.managed
    at_every_position(
        machine, error, lambda: prepare(machine, managed, {"watch": policy}, ["watch"])
    )


@errors
def test_following_goes_on(faulty, error):
    """However a round fails: who lives is monitored after the next ones, and the rest is not."""
    world = faulty.world
    faulty.put("w.yaml", WATCH)
    assert faulty.rest().kind == "applied"
    faulty.keeper.machine, faulty.keeper.table = faulty.machine, Table(faulty.machine)
    follower = Follower(faulty.keeper)
    job = FollowJob(follower)
    alive = watched(faulty)
    position, calls = 0, 1
    while position < calls:
        alive.add(world.machine.start_process("worker", areas=[AREA]))
        gone = min(alive)
        alive.remove(gone)
        world.machine.exit_process(gone)
        world.machine.sleep(11)
        faulty.keeper.managed()  # it is known what is in force
        faulty.machine.arm(position, error)
        with suppress(DamonPolicyError):  # as the service's guard does
            job.run()
        calls = max(calls, min(faulty.machine.calls, 150))
        faulty.machine.arm(-1, None)
        for _ in range(8):
            world.machine.sleep(2)
            job.run()
            if watched(faulty) == alive:
                break
        assert watched(faulty) == alive, position
        assert not world.places.journal.exists(), position
        position += 3

    assert calls > 50
    assert follower.trouble == ""


def test_a_zombie_has_no_program(monkeypatch):
    """Its link is there, and leads nowhere: readlink(2) says ENOENT."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    machine = LiveMachine()
    try:
        assert machine.exists(f"/proc/{child}/exe")
        assert find(machine, Selector(pid=child)) == []
        # it became one right after its status was read
        status = machine.read(f"/proc/{os.getpid()}/status")
        real = LiveMachine.read
        monkeypatch.setattr(
            LiveMachine,
            "read",
            lambda self, path: status if path == f"/proc/{child}/status" else real(self, path),
        )
        (found,) = find(machine, Selector(pid=child))
    finally:
        os.waitpid(child, 0)

    assert not found.exe


class Closed(Faulty):
    """A machine on which one process does not show its program."""

    def __init__(self, machine, pid):
        super().__init__(machine)
        self.link = f"/proc/{pid}/exe"

    def resolve(self, path):
        if path == self.link:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return self.machine.resolve(path)


def test_a_program_that_may_not_be_known_matters_to_selectors_on_it_alone(faulty):
    machine = faulty.world.machine
    worker = find(machine, Selector(name="worker"))[0].pid
    closed = Closed(machine, worker)
    (process,) = find(closed, Selector(pid=worker))

    assert process.exe is None
    assert worker in [each.pid for each in find(closed, Selector(name="worker"))]
    found = [each.pid for each in find(closed, Selector(exe="/usr/bin/worker"))]
    assert found == [each.pid for each in find(machine, Selector(name="worker"))[1:]]


def test_who_finds_no_program_is_told_that_some_may_not_be_known(faulty):
    machine = faulty.world.machine
    worker = find(machine, Selector(name="worker"))[0].pid
    text = WATCH.replace("name: worker}", "exe: /nowhere/*}")
    (policy,) = faulty.world.compile("w", text=text).values()
    with pytest.raises(DamonPolicyError) as caught:
        bind(policy.kdamonds[0], Closed(machine, worker))

    assert caught.value.hint.startswith("what 1 process runs may not be read")


def test_a_boot_that_cannot_be_known_is_no_other_boot(faulty):
    """Else all that runs would be someone else's, and be started a second time."""
    faulty.machine.arm(0, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(DamonPolicyError, match="boot"):
        host.look(faulty.machine)


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_commands_live_with_who_ends_meanwhile(tmp_path, monkeypatch, command):
    """And with who hides its program: neither has to do with the policy's own processes."""
    real = EmulatedMachine.resolve

    def resolve(machine, path):
        if path == "/proc/811/exe":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if path == "/proc/1/exe":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(machine, path)

    monkeypatch.setattr(EmulatedMachine, "resolve", resolve)
    state = ("--kernel", "emulated:6.12", "--state-dir", str(tmp_path / "s"))
    policy = tmp_path / "w.yaml"
    policy.write_text(WATCH.replace("name: worker}", "name: nginx}"))

    outcome = run_cli(command, str(policy), *state)
    assert outcome.code == (ExitCode.CHANGES if command == "plan" else ExitCode.OK), outcome.err
