"""Every state of a transaction that one or two events lead to, with the real code, exhaustively.

`python -m tests.faults.explore --jobs 2`: at every effect (a write to the machine, or a change of a
file of our own) of an apply, an online change, a removal, a roll-back and an expiry, the process
dies, the call fails once or for ever, another program configures a kdamond, or DAMON's lock is
held. Then a second event comes: in the undo of the same process, or in the recovery by the next
one. In the end `recover` has to find, or make, the machine as it was before or as it should be
after.
"""

from __future__ import annotations

import argparse
import collections
import errno
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress

os.environ["DAMONPOLICY_FORBID_LIVE"] = "1"

from damonpolicy.base.errors import DamonPolicyError, RollbackIncomplete
from damonpolicy.engine import journal
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.faults.faulty import LOCKED
from tests.faults.scenarios import OPERATIONS, Scenario
from tests.faults.verdict import attempt, difference

TEXT = """\
version: 1
name: a
kdamonds: [{name: k, ops: paddr, targets: [{numa_node: 1}]}]
settings: {/proc/sys/vm/swappiness: 70}
modules: {damon_stat: {enabled: false}}
"""
EVENTS = ("crash", "once", "ever", "foreign", "lock")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
SLOT = 7
RESCUES = ("remove", "rollback")
"""Ways out, which go on where no journal can be written."""
SETTING = "/proc/sys/vm/swappiness"


class Crash(BaseException):
    """The process is gone: nothing that it would still have done happens."""


class Steps:
    """Counts effects, and lets events happen at some of them; the effects are those of one process."""

    def __init__(self, scenario, events):
        self.scenario = scenario
        self.events = events
        self.count = 0
        self.dead = False
        self.failing = ""
        self.locked_until = 0.0
        self.visited = False
        self.unwritten = False
        """Whether a file of our own could not be written."""
        self.left: set[int] = set()
        """Files that are open in the end, where the process lives on."""

    def effect(self, kind, path):
        """Called before an effect; raises what the event turns it into."""
        if self.dead:
            raise Crash
        self.count += 1
        event = self.events.get(self.count, "")
        if event == "crash":
            self.dead = True
            raise Crash
        if event == "ever":
            self.failing = kind
        elif event == "lock":
            self.locked_until = self.scenario.machine.monotonic() + LOCKED
        elif event == "foreign":
            self._visit()
        if event == "once" or self.failing == kind:
            self.unwritten |= kind == "own"
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        self.look(path)

    def look(self, path):
        if self.dead:
            raise Crash
        held = self.scenario.machine.monotonic() < self.locked_until
        if held and str(path).startswith(KDAMONDS):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)

    def _visit(self):
        """Someone configures a kdamond in the last slot, and starts it."""
        write = self.scenario.machine.write
        with suppress(OSError):
            write(f"{KDAMONDS}/{SLOT}/contexts/nr_contexts", "1")
            write(f"{KDAMONDS}/{SLOT}/contexts/0/operations", "paddr")
            write(f"{KDAMONDS}/{SLOT}/contexts/0/monitoring_attrs/intervals/sample_us", "7000")
            self.visited = True
            write(f"{KDAMONDS}/{SLOT}/state", "on")


class Machine:
    """The emulated machine as one process sees it."""

    def __init__(self, machine, steps):
        self.machine, self.steps = machine, steps

    def __getattr__(self, name):
        return getattr(self.machine, name)

    def read(self, path):
        self.steps.look(path)
        return self.machine.read(path)

    def write(self, path, text):
        self.steps.effect("machine", path)
        self.machine.write(path, text)


@contextmanager
def own_files(steps, below):
    """Count what changes files below a directory as effects."""
    real = {}

    def wrap(name, which):
        real[name] = getattr(os, name)

        def wrapped(*arguments, **options):
            path = arguments[which]
            if options.get("dir_fd") is not None:
                path = os.path.join(os.readlink(f"/proc/self/fd/{options['dir_fd']}"), path)
            ours = isinstance(path, int) or os.fsdecode(path).startswith(below)
            if ours and (name != "open" or arguments[1] & WRITING):
                steps.effect("own", path)
            return real[name](*arguments, **options)

        setattr(os, name, wrapped)

    for name, which in (
        ("open", 0), ("pwrite", 0), ("fsync", 0), ("ftruncate", 0), ("posix_fallocate", 0),
        ("replace", 1), ("rename", 1), ("unlink", 0), ("mkdir", 0),
    ):  # fmt: skip
        wrap(name, which)
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def run(scenario, do, events):
    """Let a process do something under events; returns its steps, and how it ended."""
    steps, before = Steps(scenario, events), descriptors()
    try:
        with own_files(steps, str(scenario.directory)):
            do(Machine(scenario.machine, steps))
    except Crash:
        for each in descriptors() - before:  # as the end of a process does
            with suppress(OSError):
                os.close(each)
        return steps, "crash"
    except DamonPolicyError as error:
        return steps, error
    except OSError as error:
        return steps, DamonPolicyError(str(error))
    finally:
        steps.left = descriptors() - before
    return steps, None


def descriptors():
    """Return the files that are open; the one that lists them is not any more."""
    found = {int(each) for each in os.listdir("/proc/self/fd")}
    return {each for each in found if os.path.lexists(f"/proc/self/fd/{each}")}


def wrong(scenario, ended, visited, *, unkept):
    """Return how a promise is broken in the end, or an empty text.

    ``unkept``: a way out went on without a journal, and said that it has to be run again if it ends.
    """
    wanted = (scenario.before, scenario.after)
    incomplete = isinstance(ended, RollbackIncomplete)
    if isinstance(ended, DamonPolicyError) and not incomplete:
        if not same(scenario.world.look(), scenario.before, visited):
            return f"{ended}: {difference(scenario.before, scenario.world.look())}"
    if ended is None and not same(scenario.world.look(), scenario.after, visited):
        return f"done: {difference(scenario.after, scenario.world.look())}"
    error = attempt(scenario.recover)
    if isinstance(error, RollbackIncomplete) and visited:
        leave(scenario)
        error = attempt(scenario.recover)
    if error is not None:
        return f"recover: {error}"
    now = scenario.world.look()
    if journal.read(scenario.world.places.journal) is not None:
        return "a journal is left"
    if not any(same(now, each, visited) for each in wanted):
        if not unkept:
            return f"neither before nor after: {difference(scenario.before, now)}"
        error = attempt(lambda: scenario.do(scenario.machine))
        if error is not None or not same(scenario.world.look(), scenario.after, visited):
            return f"again: {error} {difference(scenario.after, scenario.world.look())}"
    return scenario.machine.poisoned


def leave(scenario):
    """The other program goes, and takes its kdamond along."""
    with suppress(OSError):
        scenario.machine.write(f"{KDAMONDS}/{SLOT}/state", "off")
    with suppress(OSError):
        scenario.machine.write(f"{KDAMONDS}/{SLOT}/contexts/nr_contexts", "0")


def same(now, wanted, visited):
    """Where someone has come, slots and the module that would run beside them are theirs, too."""
    if not visited:
        return now == wanted
    return all(
        (now.get(path) or None) == (wanted.get(path) or None) for path in (SETTING, "0/runs")
    )


def histories(scenario):
    """Yield one or two events: (events of the operation, events of the recovery)."""
    plain, _ = begun(scenario, {})
    for first in range(1, plain.count + 1):
        for event in EVENTS:
            yield {first: event}, {}
            steps, ended = begun(scenario, {first: event})
            for second in range(first + 1, steps.count + 1):
                for other in EVENTS:
                    yield {first: event, second: other}, {}
            if ended == "crash" or isinstance(ended, RollbackIncomplete):
                again, _ = run(scenario, scenario.recover, {})
                for second in range(1, again.count + 1):
                    for other in EVENTS:
                        yield {first: event}, {second: other}


def begun(scenario, events):
    scenario.begin()
    return run(scenario, scenario.do, events)


def explored(operation: str, part: int, parts: int, stride: int):
    """Try every ``stride``-th history of an operation; return counts and violations."""
    scenario = Scenario("a", "7.3", None, TEXT, operation)
    scenario.before, scenario.after  # noqa: B018 — known before anything goes wrong
    counts, broken = collections.Counter(), []
    for number, (events, later) in enumerate(histories(scenario)):
        if number % stride or number // stride % parts != part:
            continue
        steps, ended = begun(scenario, events)
        visited, left = steps.visited, steps.left
        journaled = journal.read(scenario.world.places.journal) is not None
        unkept = steps.unwritten and operation in RESCUES and not journaled
        scenario.machine._slept += 3600
        if later:
            steps, ended = run(scenario, scenario.recover, later)
            visited, left = visited | steps.visited, left | steps.left
            scenario.machine._slept += 3600
            ended = ended if isinstance(ended, RollbackIncomplete) else "crash"
        reason = wrong(scenario, ended, visited, unkept=unkept)
        reason = reason or (f"{len(left)} files left open" if left else "")
        counts[operation] += 1
        if reason:
            broken.append(f"{operation}: {events} then {later}: {reason}")
    scenario.close()
    return counts, broken


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.explore", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1, help="try every so-manieth history")
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help=", ".join(OPERATIONS))
    options = parser.parse_args()
    total, broken = collections.Counter(), []
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [
            pool.submit(explored, operation, part, options.jobs, options.stride)
            for operation in options.operations or OPERATIONS
            for part in range(options.jobs)
        ]
        for job in jobs:
            counts, reasons = job.result()
            total += counts
            broken += reasons
            for reason in reasons:
                print(reason, flush=True)
    print(", ".join(f"{operation} {count}" for operation, count in total.items()))
    print(f"{sum(total.values())} histories, {len(broken)} violations")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
