"""Run of a program for its output, bounded in time and size, with nothing left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from damonpolicy.tuning.unread import Unread

__all__ = ("said",)

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def said(words: Sequence[str], *, seconds: float, most: int) -> str:
    """Return a program's standard output.

    Raises Unread if it fails, or writes more than ``most`` bytes, OSError if it cannot be run or
    does not end within ``seconds``. Its children then end with it.
    """
    deadline = time.monotonic() + seconds
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT, cwd="/", umask=0o077, process_group=0,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        with process.stdout as stream:
            data = _read(stream.fileno(), deadline, most)
        status = process.wait(max(deadline - time.monotonic(), 0))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise TimeoutError(f"no answer within {seconds:g} s") from error
    finally:
        with suppress(ProcessLookupError):  # its process group is empty
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if status:
        raise Unread(f"`{words[0]}` ended with {status}")
    return data.decode("utf-8", "replace")


def _read(descriptor: int, deadline: float, most: int) -> bytes:
    """Read to the end."""
    data, poll = bytearray(), select.poll()  # select() takes no descriptor from 1024 on
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise TimeoutError
        part = os.read(descriptor, 1 << 16)
        if not part:
            return bytes(data)
        data += part
        if len(data) > most:
            raise Unread(f"it writes more than {most >> 20} MiB")
