"""The process events connector: what its messages say, and that live ones come."""

from __future__ import annotations

import select
import struct
import subprocess
import time

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.process_events import changed, listen

FORK, EXEC, COMM, EXIT, ACK = 0x1, 0x2, 0x200, 0x80000000, 0x0


def message(what, *words):
    """One netlink message as the kernel sends it (include/uapi/linux/cn_proc.h)."""
    event = struct.pack("=IIQ", what, 0, 1) + struct.pack(f"={len(words)}I", *words)
    connector = struct.pack("=IIIIHH", 1, 1, 0, 0, len(event), 0) + event
    return struct.pack("=IHHII", 16 + len(connector), 3, 0, 0, 0) + connector


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (message(FORK, 5, 5, 9, 9), [9]),
        (message(FORK, 5, 5, 9, 5), []),
        (message(EXEC, 9, 9), [9]),
        (message(EXIT, 9, 9, 0, 17, 5, 5), [9]),
        (message(EXIT, 10, 9, 0, 17, 5, 5), []),
        (message(COMM, 9, 9, 0, 0, 0, 0), [9]),
        (message(ACK, 0), []),
        (message(EXEC, 9, 9) + message(EXIT, 8, 8, 0, 17), [9, 8]),
        (message(EXEC, 9, 9)[:-6], []),
        (b"", []),
        (b"\xff" * 64, []),
        (b"\0" * 64, []),
    ],
)
def test_messages(data, expected):
    assert list(changed(data)) == expected


def test_an_emulated_machine_has_no_such_events():
    assert listen(EmulatedMachine.create("7.3")) is None


def test_live_processes_are_told():
    events = listen(LiveMachine())
    if events is None:
        pytest.skip("no right to listen to process events")
    with events:
        process = subprocess.Popen(["/bin/true"])
        process.wait()
        found: set[int] = set()
        deadline = time.monotonic() + 120
        while process.pid not in found and time.monotonic() < deadline:
            select.select([events], [], [], 1)
            found |= events.read() or set()

    assert process.pid in found
