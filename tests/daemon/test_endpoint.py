"""The server of metrics: wrong requests, slow clients, and addresses."""

from __future__ import annotations

import gzip
import os
import socket
import time
import urllib.request

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode, UsageError
from damonpolicy.daemon import endpoint, metrics
from damonpolicy.daemon.metrics import Exporter, read_address
from tests.daemon.test_metrics import scrape


def connect(served):
    return socket.create_connection(("127.0.0.1", served.port), timeout=30)


def ask(served, request):
    """Return the status and the whole answer to what is sent."""
    with connect(served) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return int(answer.split(b" ")[1]), answer


def test_some_of_them_can_be_asked_for(serve):
    served = serve()
    url = f"http://127.0.0.1:{served.port}/metrics?name[]=damonpolicy_up"
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert "version=0.0.4" in answer.headers["Content-Type"]
        assert answer.read().decode().splitlines()[-1] == "damonpolicy_up 1.0"


def test_an_answer_is_packed_where_the_client_can_unpack_it(serve):
    _, answer = ask(serve(), b"GET / HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")

    assert b"Content-Encoding: gzip" in head
    assert b"damonpolicy_up 1.0" in gzip.decompress(body)


def test_head_tells_the_length_alone(serve):
    served = serve()
    _, whole = ask(served, b"GET /metrics HTTP/1.1\r\n\r\n")
    status, head = ask(served, b"HEAD /metrics HTTP/1.1\r\n\r\n")

    assert status == 200
    assert whole.partition(b"\r\n\r\n")[0] == head.partition(b"\r\n\r\n")[0]
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET //[ HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\n\n", 200),
        (b"GET /?%ff&name[]=\xff HTTP/1.1\r\nAccept: \xff;q=x,;;,\r\n\r\n", 200),
    ],
)
def test_what_is_no_request_is_answered_and_the_next_one_as_well(serve, request_, status):
    served = serve()

    assert ask(served, request_)[0] == status
    assert scrape(served)["damonpolicy_up"] == 1


def test_what_cannot_be_told_ends_nobody_else(serve, monkeypatch):
    served = serve()

    def broken(accept):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(metrics, "choose_encoder", broken)
        assert ask(served, b"GET / HTTP/1.1\r\n\r\n")[0] == 500
    assert scrape(served)["damonpolicy_up"] == 1


@pytest.mark.parametrize("drip", [b"", b"G"], ids=["silent", "a byte now and then"])
def test_a_client_that_never_comes_to_the_point_is_hung_up_on(serve, monkeypatch, drip):
    monkeypatch.setattr(endpoint, "_ASKING", 0.3)
    with connect(serve()) as client:
        client.settimeout(0.02)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                client.sendall(drip)
                if client.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it is still there")


@pytest.mark.parametrize("many", [50, 200])
def test_a_scrape_is_answered_beside_many_slow_clients(serve, many):
    served = serve()
    slow = []
    try:
        for _ in range(many):
            slow.append(connect(served))
            slow[-1].sendall(b"GET /met")
        begin = time.monotonic()
        assert scrape(served)["damonpolicy_up"] == 1
        assert time.monotonic() - begin < 2
    finally:
        for each in slow:
            each.close()


def test_who_came_first_makes_room(serve, monkeypatch):
    monkeypatch.setattr(endpoint, "_CLIENTS", 3)
    monkeypatch.setattr(endpoint, "_ASKING", 30.0)
    served = serve()
    held = [connect(served) for _ in range(4)]
    try:
        assert held[0].recv(1) == b""
        held[1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert held[1].recv(12) == b"HTTP/1.1 200"
    finally:
        for each in held:
            each.close()


def test_an_answer_that_nobody_takes_ends(monkeypatch):
    monkeypatch.setattr(endpoint, "_TAKING", 0.2)
    served = endpoint.Endpoint("127.0.0.1", 0, lambda _: endpoint.Answer(bytes(32 << 20)))
    try:
        with connect(served) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert client.recv(8) == b"HTTP/1.1"
            while served._clients:  # whoever comes meanwhile is answered
                assert ask(served, b"PUT / HTTP/1.1\r\n\r\n")[0] == 405
    finally:
        served.stop()


def test_no_connection_is_left_behind():
    before = os.listdir("/proc/self/fd")
    served = Exporter("127.0.0.1:0", None)
    for _ in range(3):
        scrape(served)
        connect(served).close()
    with connect(served):
        served.stop()
    with pytest.raises(OSError, match="refused"):
        connect(served)
    assert os.listdir("/proc/self/fd") == before


def test_a_port_that_is_taken(serve):
    served = serve()
    with pytest.raises(DamonPolicyError) as caught:
        serve(address=f"127.0.0.1:{served.port}")

    assert caught.value.exit_code == ExitCode.FAILED
    assert "already in use" in caught.value.message
    assert "--metrics" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [(":9797", ("127.0.0.1", 9797)), ("9797", ("127.0.0.1", 9797)),
     ("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:9797", ("::1", 9797)), ("[::]:0", ("::", 0))],
)  # fmt: skip
def test_addresses(text, expected):
    assert read_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "host:1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", ":-1"]
)
def test_what_is_no_address(text):
    with pytest.raises(UsageError):
        read_address(text)
