"""Why the service has an endpoint of its own: clients that ask for nothing cost it no thread."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager

from prometheus_client import start_http_server

from damonpolicy.daemon.jobs.status_file import Figures
from damonpolicy.daemon.metrics import Exporter

MANY = 20


@contextmanager
def silent_clients(port):
    """Clients that are connected, and say nothing."""
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        yield


def test_they_hold_no_thread():
    served = Exporter("127.0.0.1:0", Figures)
    before = threading.active_count()
    try:
        with (
            silent_clients(served.port),
            urllib.request.urlopen(f"http://127.0.0.1:{served.port}/", timeout=30) as answer,
        ):
            assert b"damonpolicy_up 1.0" in answer.read()
            assert threading.active_count() == before
    finally:
        served.stop()


def test_they_hold_a_thread_each_of_the_librarys_server():
    server, _ = start_http_server(0, "127.0.0.1")
    before, end = threading.active_count(), time.monotonic() + 30
    try:
        with silent_clients(server.server_port):
            while threading.active_count() < before + MANY:
                assert time.monotonic() < end
                time.sleep(0.01)  # until the threads are there, or the time is up
    finally:
        server.shutdown()
        server.server_close()
