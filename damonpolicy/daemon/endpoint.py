"""A small HTTP server for short answers, in a thread that never waits for a client.

Strangers may connect. A connection costs a few bytes and ends after some seconds, whatever its
client does. If there are too many, the oldest is dropped: a real client sends its whole request at
once, one that only occupies a place does not. `prometheus_client.start_http_server` keeps a thread
for each connection, without a limit, for as long as its client is silent.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field
from http import HTTPStatus

from damonpolicy.base.lazy import dataclass

__all__ = ("Answer", "Endpoint", "Request")

_CLIENTS = 64
"""The most clients connected at a time."""
_QUEUE = 1024
"""The most clients waiting to be accepted: others try again after a second (tcp(7))."""
_ASKING = 2.0
"""Seconds from the connection until the request has to be complete."""
_TAKING = 5.0
"""Seconds for the client to take its answer."""
_LEAVING = 0.5
"""Seconds for the client to hang up afterwards: further data from it would break its answer."""
_MOST_BYTES = 8192
"""The longest request."""
_PIECE = 1 << 16
_PAUSE = 0.1
"""Seconds to ignore new clients when no descriptor is left for them."""


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a client; the length is added."""

    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    until: float
    said: bytearray = field(default_factory=bytearray)
    left: memoryview | None = None
    """The data still to be sent; None while the request is incomplete."""


class Endpoint:
    """A server that answers GET and HEAD until it is stopped."""

    def __init__(self, host: str, port: int, answer: Callable[[Request], Answer]) -> None:
        """Listen; the thread calls ``answer``. Raises OSError if listening is impossible."""
        self._answer = answer
        self._clients: dict[int, _Client] = {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server(
            (host, port),
            family=family,
            backlog=_QUEUE,
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
        self._listening.setblocking(False)
        self.port = int(self._listening.getsockname()[1])
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and hang up."""
        os.eventfd_write(self._bell, 1)
        self._thread.join()
        for client in list(self._clients.values()):
            self._hang_up(client)
        self._selector.close()
        self._listening.close()
        os.close(self._bell)

    def _serve(self) -> None:
        while True:
            first = min((each.until for each in self._clients.values()), default=None)
            wait = None if first is None else max(first - time.monotonic(), 0.0)
            for key, _ in self._selector.select(wait):
                if key.fd == self._bell:
                    return
                if key.fd == self._listening.fileno():
                    self._welcome()
                elif key.fd in self._clients:  # otherwise it has just made room
                    self._attend(self._clients[key.fd])
            now = time.monotonic()
            for client in [each for each in self._clients.values() if each.until <= now]:
                self._hang_up(client)

    def _welcome(self) -> None:
        """Accept one client."""
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):  # it is gone already
            return
        except OSError:  # no descriptor is left, and the socket stays ready
            if self._clients:
                self._make_room()
            else:  # the rest of the service uses them all: avoid a busy loop
                time.sleep(_PAUSE)
            return
        if len(self._clients) >= _CLIENTS:
            self._make_room()
        connection.setblocking(False)
        client = _Client(connection, time.monotonic() + _ASKING)
        self._clients[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ)
        self._attend(client)

    def _make_room(self) -> None:
        self._hang_up(next(iter(self._clients.values())))

    def _attend(self, client: _Client) -> None:
        """Read from or write to one client without waiting."""
        try:
            if client.left is None:
                self._hear(client)
            elif client.left:
                self._tell(client)
            elif not client.connection.recv(_PIECE):
                self._hang_up(client)
        except BlockingIOError:
            return
        except OSError:  # it has hung up
            self._hang_up(client)

    def _hear(self, client: _Client) -> None:
        data = client.connection.recv(_MOST_BYTES)
        if not data:
            self._hang_up(client)
            return
        client.said += data
        head, end, _ = bytes(client.said).replace(b"\r\n", b"\n").partition(b"\n\n")
        if not end and len(client.said) < _MOST_BYTES:
            return
        too_long = not end or len(head) > _MOST_BYTES
        client.left = memoryview(_reply(None if too_long else head, self._answer))
        client.until = time.monotonic() + _TAKING
        self._selector.modify(client.connection, selectors.EVENT_WRITE)
        self._tell(client)

    def _tell(self, client: _Client) -> None:
        assert client.left is not None
        client.left = client.left[client.connection.send(client.left[:_PIECE]) :]
        if not client.left:
            client.connection.shutdown(socket.SHUT_WR)
            client.until = time.monotonic() + _LEAVING
            self._selector.modify(client.connection, selectors.EVENT_READ)

    def _hang_up(self, client: _Client) -> None:
        del self._clients[client.connection.fileno()]
        self._selector.unregister(client.connection)
        with suppress(OSError):
            client.connection.close()


def _reply(head: bytes | None, answer: Callable[[Request], Answer]) -> bytes:
    """Return a whole answer to a request; the request is None if it was too long."""
    if head is None:
        return _whole(Answer(status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
    request = _read(head.decode("latin-1"))
    if request is None:
        return _whole(Answer(status=HTTPStatus.BAD_REQUEST))
    if request.method not in ("GET", "HEAD"):
        allowed = {"Allow": "GET, HEAD"}
        return _whole(Answer(headers=allowed, status=HTTPStatus.METHOD_NOT_ALLOWED))
    try:
        told = answer(request)
    except Exception:  # noqa: BLE001 — a library reads what a stranger sent, and others ask next
        told = Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR)
    return _whole(told, body=request.method == "GET")


def _read(head: str) -> Request | None:
    first, *lines = head.split("\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        return None
    pairs = [line.partition(":") for line in lines]
    if any(not middle for _, middle, _ in pairs):
        return None
    return Request(words[0], words[1], {name.lower(): value.strip() for name, _, value in pairs})


def _whole(answer: Answer, *, body: bool = True) -> bytes:
    headers = {**answer.headers, "Content-Length": str(len(answer.body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (answer.body if body else b"")
