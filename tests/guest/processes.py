"""The processes behind a guest: they end with this process, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import tail
from .tools import Tools

__all__ = ("Child", "Children", "FileShare")

# The kernel kills the child when the thread that started it ends, so it is started and
# awaited in one thread. This survives exec, also that of unshare and of the shell.
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")

# In a mount namespace of its own: the bind mounts below are private, and go with it.
# Not recursive, so that no live /sys, /proc or /dev of this machine is ever in it.
_MOUNT = """
set -e
at=$1 mode=$2 source=$3
shift 3
bind() {
    mount --bind "$1" "$2"
    [ "$mode" = rw ] || mount -o remount,bind,ro "$2"
}
bind "$source" "$at"
while [ "$1" != -- ]; do
    bind "$1" "$at$2"
    shift 2
done
shift
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class FileShare:
    """A directory that virtiofsd serves to a guest."""

    tag: str
    source: Path
    scratch: Path
    read_only: bool = True
    extra: Sequence[tuple[Path, Path]] = field(default=())
    """What else is mounted in it: from where, and at what path inside."""

    @property
    def socket(self) -> str:
        """Where QEMU connects: relative to ``scratch``, for a socket's path has 107 bytes."""
        return f"{self.tag}.sock"

    def command(self, tools: Tools, listening: int) -> list[str]:
        """Return virtiofsd's command line, from the mount namespace on."""
        point = self.scratch / f"{self.tag}.d"
        point.mkdir()
        # The guest is alone with its root; the share is looked at from both sides.
        kind = ["--readonly", "--cache=always"] if self.read_only else ["--cache=auto"]
        return [
            "unshare", "--mount", "--propagation", "private", "--",
            "/bin/sh", "-c", _MOUNT, "sh",
            str(point), "ro" if self.read_only else "rw", str(self.source),
            *[str(path) for pair in self.extra for path in pair], "--",
            *tools.virtiofsd, f"--fd={listening}", f"--shared-dir={point}",
            "--sandbox=chroot", "--log-level=error", *kind,
        ]  # fmt: skip

    def device(self) -> list[str]:
        """Return QEMU's options for it."""
        return [
            "-chardev", f"socket,id={self.tag},path={self.socket}",
            "-device", f"vhost-user-fs-pci,chardev={self.tag},tag={self.tag}",
        ]  # fmt: skip


class Child:
    """A process of ours and what it said."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    @property
    def status(self) -> str:
        """Whether it runs, or how it ended."""
        code = self._process.poll()
        return "running" if code is None else f"ended with {code}"

    def ended(self, within: float = 0) -> bool:
        """Return whether it ended, waiting a little."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self._process.poll() is not None

    def said(self) -> str:
        """Return the end of what it wrote."""
        return tail(self._log.read_text(encoding="utf-8", errors="replace"), 10).strip()

    def end(self) -> None:
        """End it and its group, politely and then not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.ended():
                return
            # Not yet waited for, so the number is still its own.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            self.ended(within=3)


class Children:
    """All processes of one guest; leaving the context ends them, the last one first."""

    def __init__(self) -> None:
        self._all: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in reversed(self._all):
            child.end()

    def start(
        self, name: str, command: Sequence[str], *, cwd: Path, keep: Sequence[int] = ()
    ) -> Child:
        """Start a process in a group of its own, which ends when this thread does."""
        log = cwd / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_DIE_WITH_US, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                pass_fds=keep,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._all.append(child)
        return child

    def start_share(self, share: FileShare, tools: Tools) -> Child:
        """Start virtiofsd on a socket that listens already, so that no client has to wait."""
        with socket.socket(socket.AF_UNIX) as listening:
            directory = os.open(share.scratch, os.O_PATH | os.O_CLOEXEC)
            try:
                listening.bind(f"/proc/self/fd/{directory}/{share.socket}")
            finally:
                os.close(directory)
            listening.listen(1)
            number = listening.fileno()
            command = share.command(tools, number)
            return self.start(f"virtiofsd-{share.tag}", command, cwd=share.scratch, keep=[number])
