"""Answers of servers and programs of this machine, bounded in time and size."""

from __future__ import annotations

import http.client
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

__all__ = ("Unread", "get", "said")

_LOCAL = ("localhost", "127.0.0.1", "::1")
_OK = 200
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class Unread(ValueError):
    """The content is not a number; the text is ours or the policy's, never the content.

    Sources are read as root, and messages appear in logs, in `status` and in metrics: more people
    see those than may read the file.
    """


def get(url: str, *, seconds: float, most: int) -> str:
    """Return the answer of a local address; other addresses would let a policy send data out.

    Redirects are not followed. Raises Unread for an answer that is invalid, incomplete or longer
    than ``most`` bytes, OSError without an answer within ``seconds``.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in _LOCAL:
        raise Unread("only http on the machine itself is asked")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not re.fullmatch(r"[!-~]+", path):
        raise Unread("an address has no spaces, and nothing but ASCII")
    asked = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    with closing(asked), _in_time(asked, seconds):
        data = _answer(asked, path, most)
    return data.decode("utf-8", "replace")


@contextmanager
def _in_time(asked: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Connect, and hang up after ``seconds``: the resulting error is reported as a timeout.

    The connection's own timeout is for each read: with a byte now and then it would never expire.
    """
    late = threading.Event()
    lines: list[socket.socket] = []
    alarm = threading.Timer(seconds, _hang_up, [lines, late])
    alarm.start()
    try:
        asked.connect()
        # the connection releases an answer without a length before it was read
        lines.append(asked.sock)
        if late.is_set():
            raise _too_late(seconds)
        yield
    except (OSError, ValueError) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise _too_late(seconds) from error
        raise
    finally:
        alarm.cancel()
    if late.is_set():  # the data may be the beginning of an answer
        raise _too_late(seconds)


def _answer(asked: http.client.HTTPConnection, path: str, most: int) -> bytes:
    try:
        asked.request("GET", path)
        with asked.getresponse() as answer:
            data = answer.read(most + 1)
            left = answer.length
    except http.client.HTTPException as error:
        raise Unread("the answer is not HTTP") from error
    if answer.status != _OK:
        raise Unread(f"the answer is {answer.status}")
    if len(data) > most:
        raise Unread(f"the answer is longer than {most >> 20} MiB")
    if left:
        raise Unread("the answer ends early")
    return data


def _hang_up(lines: Iterable[socket.socket], late: threading.Event) -> None:
    late.set()
    for each in lines:  # none yet, while it connects
        with suppress(OSError):  # closed by now
            each.shutdown(socket.SHUT_RDWR)


def _too_late(seconds: float) -> TimeoutError:
    return TimeoutError(f"no answer within {seconds:g} s")


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
