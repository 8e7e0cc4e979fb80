"""A machine with sources of numbers, and a server that answers what a test wants."""

from __future__ import annotations

import http.server
import threading

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.tuning.sources import Stale


@pytest.fixture(scope="module")
def machine():
    return EmulatedMachine.create("7.3")


class Answers(http.server.BaseHTTPRequestHandler):
    answer = ""
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        if self.status == 302:
            self.send_header("Location", self.answer)
        self.end_headers()
        self.wfile.write(type(self).answer.replace("PATH", self.path).encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


def stale(meter):
    with pytest.raises(Stale) as caught:
        meter.read()
    return str(caught.value)
