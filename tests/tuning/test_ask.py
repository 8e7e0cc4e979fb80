"""Answers of servers that are broken, slow or of another kind."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from damonpolicy.tuning import ask


@contextmanager
def server(*parts, drops=(), hold=False):
    """Answer with parts, then with drops at intervals; `hold` keeps the connection open then."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with connection:
                try:
                    connection.recv(1 << 16)
                    for part in parts:
                        connection.sendall(part)
                    for drop in drops:
                        connection.sendall(drop)
                        stop.wait(0.05)
                except OSError:
                    return
                stop.wait(20) if hold else None

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"
        stop.set()
        thread.join()


def asked(url, seconds=5.0):  # more than any of these answers needs, however busy the machine
    return ask.get(url, seconds=seconds, most=1 << 20)


def test_an_answer_with_and_without_its_length():
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na1", hold=True) as url:
        assert asked(url) == "a1"
    with server(b"HTTP/1.0 200 OK\r\n\r\na1") as url:
        assert asked(url) == "a1"
    with server(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na1\r\n0\r\n\r\n"
    ) as url:
        assert asked(url) == "a1"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na1", "ends early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\na1", "not HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (b"", "not HTTP|reset"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\na1", "not HTTP"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", "the answer is 302"),
        (b"HTTP/1.1 503 No\r\n\r\n", "the answer is 503"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (2 << 20), "longer than 1 MiB"),
    ],
)
def test_an_answer_that_is_none(answer, reason):
    with server(answer) as url, pytest.raises((ValueError, OSError), match=reason):
        asked(url)


@pytest.mark.parametrize("length", [b"", b"Content-Length: 5000\r\n"], ids=["none", "length"])
def test_nobody_waits_for_a_server_that_drips(length):
    """Each byte comes in time, the answer never does."""
    drops = iter([b"1"] * 1000)
    with (
        server(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n", drops=drops) as url,
        pytest.raises(TimeoutError, match=r"no answer within 0\.3 s"),
    ):
        asked(url, seconds=0.3)
    assert next(drops, None), "it hung up, and did not wait for the last"


def test_nobody_waits_for_a_server_that_says_nothing():
    with server(hold=True) as url, pytest.raises(TimeoutError, match=r"no answer within 0\.3 s"):
        asked(url, seconds=0.3)


LATE = r"^no answer within 5 s$"


def test_a_time_out_of_the_socket_is_told_as_ours(monkeypatch):
    """Of two alarms either may be first: on a busy machine it is not always the same."""
    monkeypatch.setattr(threading, "Timer", lambda *_: SimpleNamespace(start=int, cancel=int))
    monkeypatch.setattr(ask.socket, "create_connection", impatient(socket.create_connection))

    with server(hold=True) as url, pytest.raises(TimeoutError, match=LATE):
        asked(url)
    with server(b"HTTP/1.1 200 OK\r\n\r\n1", hold=True) as url, pytest.raises(OSError, match=LATE):
        asked(url)


def impatient(connect):
    """Connections that lose patience at once."""

    def connected(*arguments, **options):
        made = connect(*arguments, **options)
        made.settimeout(0.01)
        return made

    return connected


def test_a_connection_that_is_not_made_in_time_is_told_as_ours(monkeypatch):
    def never(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr(ask.socket, "create_connection", never)
    with pytest.raises(TimeoutError, match=LATE):
        asked("http://127.0.0.1:9/")


def test_the_time_to_connect_counts(monkeypatch):
    """A server that needs all of the time for that has none left for an answer."""
    alarms = []

    class Timer:
        def __init__(self, seconds, ring, arguments):
            alarms.append((seconds, lambda: ring(*arguments)))

        def start(self):
            pass

        def cancel(self):
            pass

    def late(*arguments, **options):
        ((_, ring),) = alarms
        ring()
        return connect(*arguments, **options)

    connect = socket.create_connection
    monkeypatch.setattr(threading, "Timer", Timer)
    monkeypatch.setattr(ask.socket, "create_connection", late)
    with (
        server(b"HTTP/1.0 200 OK\r\n\r\na1") as url,
        pytest.raises(TimeoutError, match=LATE),
    ):
        asked(url)

    assert [seconds for seconds, _ in alarms] == [5.0]


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://localhost:0x/", "[Pp]ort"), ("http://localhost/a b", "no spaces"),
     ("http://user@192.0.2.1/", "only http on the machine")],
)  # fmt: skip
def test_what_is_no_address(url, reason):
    with pytest.raises(ValueError, match=reason):
        asked(url)


def test_nobody_is_there():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        asked(f"http://127.0.0.1:{port}/")
