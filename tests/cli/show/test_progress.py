"""The progress line on a terminal during slow steps."""

from __future__ import annotations

import io
import threading

from damonpolicy.base import log
from damonpolicy.cli.show.progress import showing


class Terminal(io.StringIO):
    """Tells when something was drawn."""

    def __init__(self):
        super().__init__()
        self.drawn = threading.Event()

    def flush(self):
        self.drawn.set()


def test_it_shows_how_far_a_transaction_is_and_leaves_nothing():
    terminal = Terminal()
    with showing(terminal, patience=0):
        log.info("begin", generation=1, operations=4, reason="test")
        for _ in range(2):
            log.debug("operation", path="/sys/x", value="on", phase="start")
        terminal.drawn.clear()
        assert terminal.drawn.wait(120)
    log.set_sink(lambda *_: None)

    assert "[##########..........] 2/4 applying: on → /sys/x" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_an_undo_has_no_known_end():
    terminal = Terminal()
    with showing(terminal, patience=0):
        log.info("begin", generation=1, operations=4, reason="test")
        log.warning("undo", transaction="t", reason="r")
        log.debug("operation", path="/sys/x", value="off", phase="undo")
        terminal.drawn.clear()
        assert terminal.drawn.wait(120)
    log.set_sink(lambda *_: None)

    assert "undoing: off → /sys/x" in terminal.getvalue()


def test_what_is_quick_shows_nothing():
    terminal = Terminal()
    with showing(terminal):
        log.debug("operation", path="/sys/x", value="on", phase="start")
    log.set_sink(lambda *_: None)

    assert terminal.getvalue() == "\r\x1b[K"
