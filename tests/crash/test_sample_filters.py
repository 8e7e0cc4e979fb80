"""A process killed while it edits sample filters: the next one undoes the edit.

A commit copies everything of a sample filter but its type, so an undo that takes only one counts
something else, and from `cpus` to `threads` the kernel follows a pointer that is none.
"""

from __future__ import annotations

import os
import signal

import pytest

from damonpolicy.engine import journal
from tests.crash.test_sigkill import copied, opened
from tests.policies import ACCESSES
from tests.world import STAT_OFF, in_memory_directory

pytestmark = pytest.mark.unmeasured  # what is killed has covered nothing

KERNEL = "damon-next"
EDITS = [
    ("{kind: write}", "{cpus: 0}"),
    ("{threads: [1]}", "{cpus: 0}"),
    ("{cpus: 0}", "{threads: [1]}"),
]


def killed_at_write(directory, number, do):
    """Do something with a machine in a child that is killed right before its so-manieth write."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            world, left = opened(KERNEL, directory), [number]

            def hook(_, path, text):
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

            world.machine.before_write = hook
            do(world)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


@pytest.mark.parametrize(("old", "new"), EDITS)
def test_recovery_changes_the_type_of_a_sample_filter_in_two_commits(old, new):
    """J2: as the undo of the process itself does."""
    start = in_memory_directory()
    first = opened(KERNEL, start)
    first.write(STAT_OFF, "N")
    first.apply("a", text=ACCESSES.format(accesses=old))
    before, at, undone = first.look(), 0, 0
    while True:
        at += 1
        directory = copied(KERNEL, start)
        killed = killed_at_write(
            directory, at, lambda world: world.apply("a", text=ACCESSES.format(accesses=new))
        )
        world = opened(KERNEL, directory)
        if not killed:
            assert world.look() != before
            world.close()
            break
        left = journal.read(world.places.journal)
        undone += left is not None and bool(left[1].intents)
        world.recover()
        assert world.look() == before, f"killed at write {at}"
        assert not world.machine.poisoned, f"killed at write {at}"
        assert not world.places.journal.exists()
        world.close()
    first.close()

    assert undone > 5
