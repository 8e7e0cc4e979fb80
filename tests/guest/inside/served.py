"""The service in the guest, started as a user would start it, and seen from outside."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from damonpolicy.kernel.system.machine import LiveMachine, read_or

from .policy import KDAMONDS, look, wait_for, write

__all__ = ("SECONDS", "Service", "Writes", "command", "content", "serving")

SECONDS = 120
"""The longest that anything may take under emulation."""

_IN_MODIFY, _IN_CLOSE_WRITE = 0x2, 0x8
_EVENT = struct.Struct("iIII")


class Service:
    """A service of this machine's, and the directory that it follows."""

    def __init__(self, directory: Path, *options: str, module: str = "damonpolicy") -> None:
        """Describe it; `start` begins. ``options`` are those of `damonpolicy run`."""
        self._module = module
        self.policies = directory / "policies"
        self.policies.mkdir(parents=True)
        self.log = directory / "log"
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, once more if it has ended."""
        with self.log.open("a") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module, "--log-format", "json", "run",
                 str(self.policies), *self._options],
                stdout=subprocess.DEVNULL, stderr=stream,
            )  # fmt: skip

    def put(self, name: str, text: str) -> float:
        """Write a policy as careful programs do; returns when it took the old one's place."""
        temporary = self.policies / f".{name}"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.policies / name)
        return time.monotonic()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a name that it has logged."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = (json.loads(line) for line in lines if line.startswith("{"))
        return [each for each in found if each["event"] == name]

    def reloaded(self, times: int = 1) -> bool:
        """Wait until it has told so often how a reload ended."""
        return wait_for(lambda: len(self.events("reload")) >= times, SECONDS)

    def end(self) -> int:
        """Let it end as systemd would; returns its status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """End it without a chance to do anything about it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(directory: Path, *options: str, module: str = "damonpolicy") -> Iterator[Service]:
    """Run a service that takes its policies with it; the machine is then as it was."""
    before = look()
    service = Service(directory, "--on-exit", "remove", *options, module=module)
    service.start()
    try:
        assert service.reloaded(), service.log.read_text("utf-8")
        yield service
    finally:
        status = service.end()
    after, log = look(), service.log.read_text("utf-8")
    assert status == 0, log
    assert before == after, f"{sorted(set(before.items()) ^ set(after.items()))}\n{log}"


def content(path: str) -> str:
    """Read a file of DAMON; empty where there is none, or none any more (ENODEV)."""
    return read_or(LiveMachine(), str(KDAMONDS / path))


def command(word: str) -> None:
    """Give the first kdamond a command beside the service, which may be asking it something.

    One that finds DAMON's lock held is refused, and given again (`patient.write`).
    """
    write("0/state", word)


class Writes:
    """Tells when writes to a kernel file have ended, by any program (inotify(7)).

    The kernel tells of a write once it is done: for a command to a kdamond that is when the
    kdamond has answered.
    """

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        # Equal events in a row are told as one: so of the end of each write, too.
        watch = libc.inotify_add_watch(
            self._descriptor, os.fsencode(path), _IN_MODIFY | _IN_CLOSE_WRITE
        )
        if min(self._descriptor, watch) < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(path))

    def forget(self) -> None:
        """Leave out what has happened so far."""
        self._read()

    def next(self, seconds: float = SECONDS) -> float:
        """Wait for the end of the next write; returns when it was."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self._descriptor], [], [], left)
            now = time.monotonic()
            if ready and any(mask & _IN_MODIFY for mask in self._read()):
                return now
        raise TimeoutError(f"nobody has written within {seconds:g} s")

    def _read(self) -> list[int]:
        found: list[int] = []
        while True:
            try:
                data = os.read(self._descriptor, 4096)
            except BlockingIOError:
                return found
            while data:
                _, mask, _, length = _EVENT.unpack_from(data)
                found.append(mask)
                data = data[_EVENT.size + length :]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
