"""HTTP requests to servers of this machine, bounded in time and size."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

from damonpolicy.tuning.unread import Unread

__all__ = ("get",)

_LOCAL = ("localhost", "127.0.0.1", "::1")
_OK = 200


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
