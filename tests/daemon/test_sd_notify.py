"""Notifications to systemd, as datagrams."""

from __future__ import annotations

import os
import re
import socket

import pytest

from damonpolicy.daemon.sd_notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """A socket as systemd has it; yields its name and itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(120)
        name = (
            str(tmp_path / "notify") if request.param == "path" else f"@damonpolicy-{os.getpid()}"
        )
        listener.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        yield name, listener


def test_states(systemd):
    name, listener = systemd
    notifier = Notifier(name)
    notifier.ready("2 policies")
    notifier.reloading()
    notifier.alive()
    notifier.stopping()
    said = [listener.recv(4096).decode() for _ in range(4)]

    assert said[0] == "READY=1\nSTATUS=2 policies"
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", said[1])
    assert said[2:] == ["WATCHDOG=1", "STOPPING=1"]


def test_a_status_is_one_line(systemd):
    name, listener = systemd
    Notifier(name).ready("one\nREADY=1")

    assert listener.recv(4096) == b"READY=1\nSTATUS=one READY=1"


def test_nobody_listens(tmp_path):
    Notifier("").ready()
    Notifier(str(tmp_path / "none")).ready()


@pytest.mark.parametrize(
    ("usec", "pid", "address", "expected"),
    [("30000000", "", "x", 15.0), ("30000000", "1", "x", None), ("", "", "x", None),
     ("30000000", "", "", None), ("soon", "", "x", None)],
)  # fmt: skip
def test_how_often_a_sign_of_life_is_due(monkeypatch, usec, pid, address, expected):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)

    assert Notifier(address).interval == expected
