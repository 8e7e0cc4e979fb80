"""Execution of one operation on the machine: retries, deadlines, meaning of errors."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Collection, Iterable

from damonpolicy.base import log
from damonpolicy.base.errors import reason_of
from damonpolicy.engine import waiting
from damonpolicy.engine.journal import Header, Thread
from damonpolicy.kernel.damon.modules import module_of, parameter_path
from damonpolicy.kernel.damon.schema import row
from damonpolicy.kernel.damon.tree import Tree, kdamond_path, slot_numbers, slot_tree
from damonpolicy.kernel.damon.view import Kdamond, Kdamonds
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.settings import normalise
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import Machine, read_or, read_value

__all__ = (
    "OperationFailed",
    "alive",
    "ask",
    "deadline",
    "deadline_amid",
    "longest_hold",
    "naps",
    "patience",
    "perform",
    "thread_of",
)

_PATIENCE = 2.0
"""Seconds to retry while the kernel's one lock is taken by someone else."""

_MARGIN = 30.0
"""Seconds on top of the longest interval before a command counts as stuck."""

_PAUSE = 0.05
"""Seconds between two tries, and between two looks at a change that takes time in the kernel."""

_STARTING = 5.0
"""Seconds within which a module's kdamond has to appear: before 6.2 a timer of 1 s starts it."""


class OperationFailed(Exception):
    """An operation that the kernel refused, ignored, or never finished."""

    gone: Collection[int] = ()
    """The processes that have ended, where that is known to be the reason."""

    def __init__(self, operation: Operation, reason: str, number: int = 0) -> None:
        super().__init__(reason)
        self.operation = operation
        self.reason = reason
        self.errno = number

    @classmethod
    def by(cls, operation: Operation, error: OSError) -> OperationFailed:
        """Return the error that describes the kernel's answer."""
        return cls(operation, _reason(error), error.errno or 0)

    def __str__(self) -> str:
        what = f"`{self.operation.after}` to `{self.operation.relative}`"
        return f"writing {what}: {self.reason}"


def deadline(files: Tree) -> float:
    """Return the seconds that a command on a kdamond may take, by the files of its directory.

    The kernel answers commands between two samples, or when it looks at the watermarks
    (mm/damon/core.c: kdamond_call()); so this is twice the longest known interval.
    """
    return _limit(text for path, text in files.items() if _waits(path))


def deadline_amid(header: Header, slot: int) -> float:
    """Return the seconds that a command may take, by a slot's old and new intervals."""
    return max(map(deadline, (slot_tree(header.before.tree, slot), header.after.get(slot, {}))))


def longest_hold(header: Header) -> float:
    """Return the seconds for which anybody may hold the kernel's one lock during a transaction.

    A command holds it while it waits for its kdamond (mm/damon/sysfs.c: damon_sysfs_lock), so the
    longest interval of any kdamond decides, including someone else's.
    """
    slots = {*slot_numbers(header.before.tree), *header.after}
    return max((deadline_amid(header, slot) for slot in slots), default=deadline({}))


def _waits(path: str) -> bool:
    """Return whether a kdamond may sleep for as long as a file says."""
    found = row(path)
    return found is not None and found.unit == "us" and found.ours != "intervals.update"


def _limit(texts: Iterable[str]) -> float:
    """Return the seconds to wait for whoever sleeps for that many microseconds."""
    longest = max((int(text) for text in texts if text.isdecimal()), default=0)
    return min(2 * longest / 1e6, 3600.0) + _MARGIN


def naps(files: Tree) -> float:
    """Return the seconds that a kdamond may sleep by its watermarks, from its own files.

    It sleeps only while all schemes are inactive, looks at them again after the shortest of their
    intervals, and answers no command before that (mm/damon/core.c: kdamond_wait_activation()).
    """
    marks = [scheme.watermarks for scheme in Kdamond(files).schemes]
    waits = (0 if each.metric.text == "none" else each.every.number for each in marks)
    return min(waits, default=0) / 1e6


def patience(machine: Machine, operation: Operation, header: Header) -> float:
    """Return the seconds that an operation of a transaction may take.

    A module reads its parameters again after an aggregation, or when it checks its watermarks
    (mm/damon/reclaim.c, lru_sort.c); its files give the intervals, now and before.
    """
    if operation.kind != "inputs":
        return deadline_amid(header, operation.slot)
    module = module_of(operation.path)
    paths = [parameter_path(module, name) for name in ("aggr_interval", "wmarks_interval")]
    texts = [read_or(machine, path) for path in paths]
    texts += [each.before for each in header.operations if each.path in paths]
    return _limit(texts)


def perform(
    machine: Machine,
    operation: Operation,
    seconds: float = _MARGIN,
    *,
    lock: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Do one operation; ``seconds`` is the longest that a command may take.

    Raises OperationFailed. EBUSY is tried again for a while where it can only come from the
    kernel's lock; a kdamond that runs already, or cannot run, stays busy. An undo gives the seconds
    for which the ``lock`` may be held, and retries everything for that long. ``check`` is called
    between two tries.
    """
    log.debug("operation", path=operation.path, value=operation.after, phase=operation.phase)
    if operation.kind == "inputs":
        _hand_over(machine, operation, seconds)
        return
    left = _PATIENCE if lock is None else lock
    while True:
        if operation.kind == "command":
            _expect_state(machine, operation)
        try:
            if operation.kind == "command":
                _within(machine, operation, seconds)
            else:
                machine.write(operation.path, operation.after)
        except OSError as error:
            retried = lock is not None or _may_be_the_lock(operation)
            if error.errno != errno.EBUSY or left <= 0 or not retried:
                raise OperationFailed.by(operation, error) from error
            machine.sleep(_PAUSE)
            left -= _PAUSE
            check()
        else:
            break
    if operation.kind == "setting":
        _check_setting(machine, operation)
        if operation.starts_module:
            _check_started(machine, operation)


def _may_be_the_lock(operation: Operation) -> bool:
    starts_one = operation.after == "on" or operation.starts_module
    return not starts_one and operation.relative != Kdamonds().count.path


def _expect_state(machine: Machine, operation: Operation) -> None:
    """Check the state before every command: some kernels crash on commands to a dead kdamond.

    6.17: the second commit to one that is off corrupts a list (mm/damon/core.c: damon_call()).
    6.18: updates of one whose context is gone dereference NULL (mm/damon/sysfs.c).
    """
    try:
        state = read_value(machine, operation.path)
        contexts = read_value(machine, kdamond_path(operation.slot, Kdamond().contexts.path))
    except FileNotFoundError:
        raise OperationFailed(operation, "the kdamond's directory is gone") from None
    except OSError as error:
        raise OperationFailed.by(operation, error) from error
    if state != operation.before:
        reason = f"the kdamond is `{state}`, not `{operation.before}`"
        raise OperationFailed(operation, reason)
    if contexts == "0" and operation.after not in ("on", "off"):
        raise OperationFailed(operation, "its context was removed by someone else")


def _within(machine: Machine, operation: Operation, seconds: float) -> None:
    """Write a command with a deadline, as the kernel's wait cannot be interrupted."""
    if not machine.here:
        machine.write(operation.path, operation.after)
        return
    outcome: list[OSError | None] = []

    def write() -> None:
        try:
            machine.write(operation.path, operation.after)
        except OSError as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    waiting.join(thread, seconds)
    if not outcome:
        raise OSError(errno.ETIMEDOUT, f"no answer after {seconds:.0f} s")
    if outcome[0] is not None:
        raise outcome[0]


def _check_setting(machine: Machine, operation: Operation) -> None:
    now = read_or(machine, operation.path)
    if normalise(now) != normalise(operation.after):
        # At once, while it is certain that nobody else wrote what it holds now.
        with contextlib.suppress(OSError):
            machine.write(operation.path, operation.before)
        raise OperationFailed(operation, f"it reads back as `{now}`")


def _check_started(machine: Machine, operation: Operation) -> None:
    """Check that the kdamond of a switched-on module runs, if the kernel shows it."""
    module = module_of(operation.path)
    if not machine.exists(parameter_path(module, "kdamond_pid")):
        return
    left = _STARTING
    while not _thread(machine, module)[1]:
        if left <= 0:
            raise OperationFailed(operation, "the kernel took it, but its kdamond does not run")
        machine.sleep(_PAUSE)
        left -= _PAUSE


def _thread(machine: Machine, module: str) -> tuple[str, int]:
    """Return the pid and the start time of a module's kdamond; the latter is 0 without one."""
    pid = read_or(machine, parameter_path(module, "kdamond_pid"), "-1")
    return pid, starts(machine, int(pid)) if pid.isdecimal() else 0


def _hand_over(machine: Machine, operation: Operation, seconds: float) -> None:
    """Hand a running module its parameters; the same kdamond has to run afterwards.

    Newer kernels answer the write; older ones reset the file when the kdamond has seen it.
    """
    module = module_of(operation.path)
    before = _thread(machine, module)
    if not before[1]:
        raise OperationFailed(operation, "its kdamond has ended")
    end = machine.monotonic() + seconds
    try:
        _within(machine, operation, seconds)
    except OSError as error:
        raise OperationFailed.by(operation, error) from error
    while normalise(read_or(machine, operation.path)) == normalise(operation.after):
        if machine.monotonic() >= end:
            raise OperationFailed(operation, f"not taken after {seconds:.0f} s", errno.ETIMEDOUT)
        machine.sleep(_PAUSE)
        waiting.tick()
    if _thread(machine, module) != before:
        raise OperationFailed(operation, "the kernel took it, but its kdamond has ended")


def _reason(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "")
    return f"{reason_of(error)} ({name})" if name else reason_of(error)


def ask(machine: Machine, slot: int, word: str, files: Tree) -> None:
    """Give a running kdamond a command, and wait for its answer.

    ``files`` are those of its directory: their intervals limit the wait. Raises OperationFailed.
    """
    perform(machine, Operation.command(slot, word), deadline(files))


def thread_of(machine: Machine, slot: int) -> Thread:
    """Return the thread that a slot's files name; its pid is -1 while nothing runs there."""
    pid = int(read_value(machine, kdamond_path(slot, Kdamond().pid.path)) or "-1")
    return pid, starts(machine, pid) if pid > 0 else 0


def alive(
    machine: Machine, slot: int, seconds: float, *, lock: float | None = None
) -> tuple[int, str]:
    """Send a kdamond a command that only a running one answers; return its pid, or why not.

    ``lock`` is that of `perform`.

    The files alone prove nothing: they show what was staged, not what runs.
    """
    try:
        perform(machine, Operation.command(slot, "update_schemes_stats"), seconds, lock=lock)
        state = read_value(machine, kdamond_path(slot, Kdamond().state.path))
        pid = read_value(machine, kdamond_path(slot, Kdamond().pid.path))
    except OperationFailed as error:
        return -1, error.reason
    except OSError as error:
        return -1, _reason(error)
    if state != "on" or not pid.isdecimal():
        return -1, f"its state is `{state}`"
    return int(pid), ""
