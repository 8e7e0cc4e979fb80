"""The journal of a transaction: everything an undo needs, written before the first change.

The first line is the header. Each further line records what is about to be done, or was done. Every
line has a checksum, and the first damaged one ends the journal: an operation begins only after its
line was written. A reboot clears /run together with the kernel's state, so a journal has to survive
the process, not the machine. Room for all lines is reserved before the first write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Any

from damonpolicy.base import log, trust, typed
from damonpolicy.base.errors import DamonPolicyError, reason_of
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.recursion import deep
from damonpolicy.engine.state_directory import cannot, damaged, make_directory, write_all
from damonpolicy.kernel.damon.tree import check_numbers
from damonpolicy.kernel.damon.view import Kdamonds
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.system.machine import forbid_live
from damonpolicy.plan.state import Managed, Pending

__all__ = (
    "Before",
    "Header",
    "Journal",
    "Progress",
    "Thread",
    "Unwritten",
    "begin",
    "read",
    "reopen",
)

Thread = tuple[int, int]
"""A kdamond's pid and start time, because pids are reused."""

_LINE = 96
"""The most bytes that one line after the header takes."""


@dataclass(frozen=True, slots=True)
class Before:
    """The machine before a transaction: the whole tree, start times by slot, settings."""

    tree: Mapping[str, str]
    starts: Mapping[int, int]
    settings: Mapping[str, str]

    def running(self, slot: int) -> bool:
        """Return whether a slot's kdamond was on."""
        return Kdamonds(self.tree)[slot].state.text == "on"

    def thread(self, slot: int) -> Thread:
        """Return the thread that ran in a slot."""
        return Kdamonds(self.tree)[slot].pid.number, self.starts.get(slot, 0)


@dataclass(frozen=True, slots=True)
class Header(typed.Kept):
    """A transaction: the machine and the managed set before it, and the operations."""

    transaction: str
    boot_id: str
    generation: int
    before: Before
    operations: tuple[Operation, ...]
    after: Mapping[int, Mapping[str, str]]
    """The new configuration of each touched slot."""
    managed: Managed
    """The managed set before; an undo writes it back to the state file."""
    pending: Pending | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data; what was before is not a mapping of its own."""
        data: dict[str, Any] = typed.plain(self)
        return {**data.pop("before"), **data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Header:
        """Read what `to_json` gave; raises ValueError for anything else."""
        before = {each.name: data.get(each.name) for each in fields(Before)}
        given = {each.name: data.get(each.name) for each in fields(cls)}
        header = typed.record(cls, {**given, "before": typed.record(Before, before)})
        for tree in (header.before.tree, *header.after.values()):
            check_numbers(tree)
        return header


@dataclass(slots=True)
class Progress:
    """The progress of a transaction and of its undo, from the lines after the header.

    ``intents`` are the numbers of the operations (counts, commands, settings) that may have been
    done. ``started`` are threads that the transaction has started, ``restarted`` those that its undo
    has, by slot; ``restarting`` are slots whose kdamond an undo was about to start.
    """

    intents: set[int] = field(default_factory=set)
    started: dict[int, set[Thread]] = field(default_factory=dict)
    restarted: dict[int, set[Thread]] = field(default_factory=dict)
    restarting: set[int] = field(default_factory=set)
    undoing: bool = False

    def take(self, line: Mapping[str, Any]) -> None:
        """Record one line; raises ValueError if it is not a line that we write."""
        if "intent" in line:
            self.intents.add(typed.integer(line["intent"], "`intent`"))
        elif "started" in line or "restarted" in line:
            kind = "started" if "started" in line else "restarted"
            slot, pid, start = typed.value(tuple[int, int, int], line[kind], f"`{kind}`")
            getattr(self, kind).setdefault(slot, set()).add((pid, start))
        elif "restarting" in line:
            self.restarting.add(typed.integer(line["restarting"], "`restarting`"))
        elif "undo" in line:
            self.undoing = True


class Unwritten:
    """A journal that could not be written: only this process knows the progress."""

    def __init__(self, header: Header, progress: Progress | None = None) -> None:
        self.header = header
        self.progress = progress or Progress()

    def go_on(self, index: int, header: Header, slot: int) -> None:
        """Record that another plan, which changes one slot, applies from operation ``index`` on."""
        operations, after = typed.plain((header.operations[index:], header.after[slot]))
        self.note({"from": index, "operations": operations, "slot": slot, "after": after})
        self.header = header

    def note(self, line: Mapping[str, Any], *, must: bool = True) -> None:
        """Write a line of `Progress`; if it ``must`` be durable, raise OSError if it is not."""
        self.progress.take(line)

    def leave(self) -> None:
        """Stop writing; the file stays."""

    def ended(self) -> bool:
        """End the transaction; return whether it is certain that nobody can resume it."""
        return True

    def end(self) -> str:
        """End the transaction; returns why the file stays, if it does."""
        return ""


class Journal(Unwritten):
    """A journal in a file, made by `begin` or `reopen`. Lines are written from ``at`` on."""

    def __init__(
        self, path: Path, header: Header, progress: Progress, descriptor: int, at: int
    ) -> None:
        super().__init__(header, progress)
        self.path = path
        self._descriptor = descriptor
        self._at = at

    def note(self, line: Mapping[str, Any], *, must: bool = True) -> None:
        data = _line(line)
        try:
            if self._descriptor >= 0:
                write_all(self._descriptor, data, self._at)
        except OSError as error:
            # Half a line would hide all lines after it, so the next one is written over it.
            log.warning("journal", path=str(self.path), reason=error.strerror)
            if must:
                raise
        else:
            self._at += len(data)
        super().note(line)

    def leave(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            trust.let_go(descriptor)

    def ended(self) -> bool:
        try:
            self.note({"end": True})
        except OSError:
            _forget(self.path)
            return not os.path.lexists(self.path)
        return True

    def end(self) -> str:
        """End the transaction: nobody resumes it, even if the file stays."""
        self.note({"end": True}, must=False)
        self.leave()
        return _forget(self.path)


def begin(path: Path, header: Header) -> Journal:
    """Begin a journal: after this, the header is there, and room for every line.

    Raises DamonPolicyError.
    """
    make_directory(path.parent)
    forbid_live(str(path))
    temporary = path.with_name(f".{path.name}.next")
    first = _line(header.to_json())
    room = len(first) + _LINE * (len(header.operations) + 8 * (len(header.after) + 1))
    descriptor = -1
    try:
        descriptor = trust.open_own(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.posix_fallocate(descriptor, 0, room)
        write_all(descriptor, first, 0)
        temporary.replace(path)
    except OSError as error:
        if descriptor >= 0:
            trust.let_go(descriptor)
        _forget(temporary)
        raise cannot("write the journal", path, error) from error
    return Journal(path, header, Progress(), descriptor, len(first))


def reopen(path: Path, header: Header, progress: Progress, size: int) -> Journal:
    """Continue a journal of an earlier process; ``size`` is that of its good lines.

    If it is read-only, an undo works without its own lines.
    """
    try:
        descriptor = trust.open_own(path, os.O_WRONLY)
    except OSError as error:
        log.warning("journal", path=str(path), reason=error.strerror)
        descriptor = -1
    return Journal(path, header, progress, descriptor, size)


def _forget(path: Path) -> str:
    """Remove a file if possible; returns why it stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        reason = f"`{path}` cannot be removed: {reason_of(error)}"
        log.warning("journal", path=str(path), reason=error.strerror)
        return reason
    return ""


def read(path: Path) -> tuple[Header, Progress, int] | None:
    """Return the header, the progress and the bytes of good lines; None if nothing is to be ended.

    Raises DamonPolicyError if the header itself is damaged: it is renamed into place when complete,
    so somebody else has changed it.
    """
    try:
        data = trust.read_own(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"cannot read the journal `{path}`: {reason_of(error)}"
        raise DamonPolicyError(message) from error
    lines = data.split(b"\n")
    progress, size = Progress(), len(lines[0]) + 1
    try:
        first = _content(lines[0])
        if first is None:
            raise damaged(path, "its checksum is wrong")
        header = Header.from_json(first)
        for line in lines[1:]:
            content = _content(line)
            if content is None:
                break
            if "end" in content:
                return None
            if "from" in content:
                header = _otherwise(header, content)
            progress.take(content)
            size += len(line) + 1
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    return header, progress, size


def _otherwise(header: Header, line: Mapping[str, Any]) -> Header:
    """Return the header with the plan that `Journal.go_on` recorded."""
    later = typed.value(tuple[Operation, ...], line.get("operations"), "`operations`")
    files = typed.value(Mapping[str, str], line.get("after"), "`after`")
    check_numbers(files)
    slot, begin = typed.integer(line.get("slot"), "`slot`"), typed.integer(line["from"], "`from`")
    after = {**header.after, slot: files}
    return replace(header, operations=(*header.operations[:begin], *later), after=after)


def _line(data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":")).encode()
    return _checksum(text) + b" " + text + b"\n"


def _checksum(text: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(text).hexdigest()[:16].encode()


def _content(line: bytes) -> Mapping[str, Any] | None:
    checksum, _, text = line.partition(b" ")
    if _checksum(text) != checksum:
        return None
    with deep():
        return typed.mapping(json.loads(text), "a line")
