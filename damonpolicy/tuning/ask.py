"""Ask a server of this machine: bounded in time and size, whatever it answers."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

__all__ = ("get",)

_LOCAL = ("localhost", "127.0.0.1", "::1")
_OK = 200


def get(url: str, *, seconds: float, most: int) -> str:
    """Return what a local address answers; anything else would make a policy a way out.

    Nobody is followed elsewhere. Raises ValueError for an answer that is none, not whole or longer
    than ``most`` bytes, OSError where there is nobody or no answer within ``seconds``.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in _LOCAL:
        message = "only http on the machine itself is asked"
        raise ValueError(message)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not re.fullmatch(r"[!-~]+", path):
        message = "an address has no spaces, and nothing but ASCII"
        raise ValueError(message)
    asked = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    with closing(asked), _in_time(asked, seconds):
        data = _answer(asked, path, most)
    return data.decode("utf-8", "replace")


@contextmanager
def _in_time(asked: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Connect, and hang up after ``seconds``: whatever that breaks is told as being late.

    The connection's own timeout is for each read: with a byte now and then it would never come.
    """
    late = threading.Event()
    alarm = threading.Timer(seconds, _hang_up, [asked, late])
    alarm.start()
    try:
        asked.connect()
        if late.is_set():
            raise _too_late(seconds)
        yield
    except (OSError, ValueError) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise _too_late(seconds) from error
        raise
    finally:
        alarm.cancel()
    if late.is_set():  # what there is may be the beginning of an answer
        raise _too_late(seconds)


def _answer(asked: http.client.HTTPConnection, path: str, most: int) -> bytes:
    try:
        asked.request("GET", path)
        with asked.getresponse() as answer:
            data = answer.read(most + 1)
            left = answer.length
    except http.client.HTTPException as error:
        message = f"this is not HTTP: {str(error)[:60]}"
        raise ValueError(message) from error
    if answer.status != _OK:
        message = f"the answer is {answer.status}"
        raise ValueError(message)
    if len(data) > most:
        message = f"the answer is longer than {most >> 20} MiB"
        raise ValueError(message)
    if left:
        message = "the answer ends early"
        raise ValueError(message)
    return data


def _hang_up(asked: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    with suppress(OSError, AttributeError):  # it may have no socket yet, or none any more
        asked.sock.shutdown(socket.SHUT_RDWR)


def _too_late(seconds: float) -> TimeoutError:
    return TimeoutError(f"no answer within {seconds:g} s")
