"""One operation: retries, deadlines, read-backs, and what the errors say."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from damonpolicy.engine import execute, waiting
from damonpolicy.engine.execute import OperationFailed, alive, deadline, naps, perform
from damonpolicy.kernel.damon.tree import kdamond_path, slot_tree
from damonpolicy.kernel.operation import Operation
from tests.world import World

STATE = kdamond_path(0, "state")
COMMIT = Operation("command", "commit", STATE, "on", "commit", 0)
BYTES = kdamond_path(0, "contexts/0/schemes/0/quotas/bytes")


@pytest.fixture
def world():
    """proactive-reclaim runs in slot 0."""
    made = World.make("7.3")
    made.apply("proactive-reclaim")
    made.machine.before_write = None
    yield made
    made.close()


def busy(world, times, path=None):
    """Let the next writes find the kernel's lock taken; returns what was tried."""
    tried = []

    def hook(_, where, text):
        tried.append((where, text))
        if len(tried) <= times and path in (None, where):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), where)

    world.machine.before_write = hook
    return tried


def test_a_taken_lock_is_tried_again(world):
    tried = busy(world, 5)
    start = world.machine.monotonic()
    perform(world.machine, Operation("write", "stage", BYTES, "0", "4096", 0))

    assert len(tried) == 6
    assert world.machine.monotonic() - start == pytest.approx(0.25)
    assert world.machine.read(BYTES) == "4096\n"


def test_a_lock_that_stays_taken_is_an_error_in_the_end(world):
    tried = busy(world, 10_000)
    with pytest.raises(OperationFailed, match=r"device or resource busy \(EBUSY\)") as caught:
        perform(world.machine, COMMIT)

    assert caught.value.errno == errno.EBUSY
    assert "writing `commit` to `0/state`" in str(caught.value)
    assert 30 < len(tried) < 60


@pytest.mark.parametrize(
    "operation",
    [
        Operation("command", "start", STATE, "on", "on", 0),
        Operation("count", "stage", kdamond_path(0)[:-1] + "nr_kdamonds", "8", "9"),
    ],
)
def test_what_cannot_be_the_lock_is_not_tried_again(world, operation):
    tried = busy(world, 10_000)
    with pytest.raises(OperationFailed):
        perform(world.machine, operation)

    assert len(tried) == 1


@pytest.mark.parametrize(
    ("slot", "seen"),
    [(0, "the kdamond is `off`, not `on`"), (11, "the kdamond's directory is gone")],
)
def test_no_command_goes_to_a_kdamond_in_another_state(world, slot, seen):
    """6.17 crashes on the second commit to one that is off."""
    if slot == 0:
        world.write("0/state", "off")
    before = len(world.machine.log)
    command = Operation("command", "commit", kdamond_path(slot, "state"), "on", "commit", slot)
    with pytest.raises(OperationFailed, match=seen):
        perform(world.machine, command)

    assert len(world.machine.log) == before


class Live:
    """The emulated machine under the live one's name, with commands that may get stuck."""

    here = True

    def __init__(self, machine):
        self.machine = machine
        self.stuck = threading.Event()
        self.stuck.set()

    def write(self, path, text):
        self.stuck.wait()
        self.machine.write(path, text)

    def __getattr__(self, name):
        return getattr(self.machine, name)


def test_a_live_command_is_done_and_its_error_handed_on(world):
    live = Live(world.machine)
    before = len(world.machine.log)
    perform(live, COMMIT, 60)
    assert [each.text for each in world.machine.log[before:]] == ["commit"]

    world.write("0/contexts/0/targets/0/regions/0/end", "1")
    with pytest.raises(OperationFailed, match="EINVAL") as caught:
        perform(live, COMMIT, 60)
    assert caught.value.errno == errno.EINVAL


def test_a_command_that_never_ends_is_given_up(world):
    live = Live(world.machine)
    live.stuck.clear()
    with pytest.raises(OperationFailed, match=r"no answer after 0 s \(ETIMEDOUT\)"):
        perform(live, COMMIT, 0)

    live.stuck.set()


def test_something_is_done_while_an_answer_is_waited_for(world, monkeypatch):
    monkeypatch.setattr(waiting, "_SLICE", 0.001)
    live, calls = Live(world.machine), []
    live.stuck.clear()

    def do():
        calls.append(len(calls))
        if len(calls) == 3:
            live.stuck.set()

    with waiting.meanwhile(do):
        perform(live, COMMIT, 60)
    since = len(calls)
    perform(live, COMMIT, 60)

    assert len(calls) == since >= 3


def test_a_deadline_follows_the_longest_interval():
    tree = {
        "0/contexts/0/monitoring_attrs/intervals/sample_us": "5000",
        "0/contexts/0/monitoring_attrs/intervals/aggr_us": "20000000",
        "0/contexts/0/schemes/0/watermarks/interval_us": "x",
        "1/contexts/0/schemes/0/watermarks/interval_us": "7200000000000",
    }

    assert deadline(slot_tree(tree, 0)) == 2 * 20 + 30
    assert deadline(slot_tree(tree, 1)) == 3600 + 30
    assert deadline(slot_tree(tree, 2)) == 30


@pytest.mark.parametrize(
    ("marks", "seconds"),
    [
        ([], 0),
        ([("free_mem_rate", 300)], 300),
        ([("free_mem_rate", 300), ("free_mem_rate", 20)], 20),
        ([("free_mem_rate", 300), ("none", 300)], 0),
    ],
)
def test_a_kdamond_sleeps_while_no_scheme_is_active(marks, seconds):
    files = {"contexts/0/schemes/nr_schemes": str(len(marks))}
    for index, (metric, every) in enumerate(marks):
        files[f"contexts/0/schemes/{index}/watermarks/metric"] = metric
        files[f"contexts/0/schemes/{index}/watermarks/interval_us"] = str(every * 10**6)

    assert naps(files) == seconds
    assert naps({}) == 0


def test_only_a_living_kdamond_answers(world):
    pid = world.managed.slots[0].pid
    assert alive(world.machine, 0, 1) == (pid, "")
    world.machine.before_write = lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "x"))
    assert alive(world.machine, 0, 1) == (-1, "x (EIO)")
    world.machine.before_write = None
    world.write("0/state", "off")

    assert alive(world.machine, 0, 1) == (-1, "the kdamond is `off`, not `on`")


def test_one_that_dies_while_it_is_asked(world, monkeypatch):
    def end(*_):
        world.machine.after_write = None
        world.write("0/state", "off")

    world.machine.after_write = end
    assert alive(world.machine, 0, 1) == (-1, "its state is `off`")

    def vanish(machine, path):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    world.write("0/state", "on")
    world.machine.after_write = lambda *_: monkeypatch.setattr(execute, "read_value", vanish)
    assert alive(world.machine, 0, 1) == (-1, "no such file or directory (ENOENT)")


def test_operations_know_their_inverse():
    write = Operation("write", "stage", BYTES, "1", "2", 0)
    start = Operation("command", "start", STATE, "off", "on", 0)

    assert (write.inverse.before, write.inverse.after) == ("2", "1")
    assert write.inverse.inverse == write
    assert (start.inverse.before, start.inverse.after) == ("on", "off")
    assert start.inverse.inverse == start
    assert Operation.from_json(write.to_json()) == write
    assert write.relative == "0/contexts/0/schemes/0/quotas/bytes"
    with pytest.raises(ValueError, match="an operation has no `phase`"):
        Operation.from_json({"kind": "write"})
