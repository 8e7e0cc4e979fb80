"""External events on a machine."""

from __future__ import annotations

from damonpolicy.emulated.machine import EmulatedMachine
from tests.emulated.damon.test_monitor import C, tried


def test_time_that_is_forwarded_is_time_for_everybody(tmp_path):
    machine = EmulatedMachine.create("7.3", store=tmp_path / "store")
    other = EmulatedMachine.create("7.3", store=tmp_path / "store")
    before = other.monotonic()

    machine.forward(3600)

    other.exists("/proc")  # it looks
    assert other.monotonic() - before >= 3600
    assert EmulatedMachine.create("7.3", store=tmp_path / "store").monotonic() - before >= 3600


def test_ages_grow_while_time_is_forwarded(kernel):
    kernel.context()
    kernel.command("on")
    kernel.machine.forward(100)

    assert {each[3] for each in tried(kernel)} == {1001}, "a walk takes one aggregation"
    assert kernel.read(f"{C}/schemes/0/stats/nr_tried") != "ENOENT"
