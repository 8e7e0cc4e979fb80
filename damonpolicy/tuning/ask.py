"""Ask a server of this machine: bounded in time and size, whatever it answers."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from contextlib import closing, suppress
from urllib.parse import urlsplit

from damonpolicy.tuning.unread import Unread

__all__ = ("get",)

_LOCAL = ("localhost", "127.0.0.1", "::1")
_OK = 200


def get(url: str, *, seconds: float, most: int) -> str:
    """Return what a local address answers; anything else would make a policy a way out.

    Nobody is followed elsewhere. Raises Unread for an answer that is none, not whole or longer
    than ``most`` bytes, OSError where there is nobody or no answer within ``seconds``.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in _LOCAL:
        raise Unread("only http on the machine itself is asked")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not re.fullmatch(r"[!-~]+", path):
        raise Unread("an address has no spaces, and nothing but ASCII")
    late = threading.Event()
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)) as asked:
        asked.connect()
        # The timeout is for each read: with a byte now and then it would never come.
        alarm = threading.Timer(seconds, _hang_up, [asked.sock, late])
        alarm.start()
        try:
            data = _answer(asked, path, most)
        except (OSError, ValueError) as error:
            if late.is_set():
                raise _too_late(seconds) from error
            raise
        finally:
            alarm.cancel()
    if late.is_set():  # what there is may be the beginning of an answer
        raise _too_late(seconds)
    return data.decode("utf-8", "replace")


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


def _hang_up(connection: socket.socket, late: threading.Event) -> None:
    late.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _too_late(seconds: float) -> TimeoutError:
    return TimeoutError(f"no answer within {seconds:g} s")
