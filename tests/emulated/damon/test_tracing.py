from __future__ import annotations

from damonpolicy.emulated.damon.tracing import EmulatedTracing
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.observe.collect.trace import Assembler
from tests.emulated.conftest import Kernel


def started(interval=None):
    kernel = Kernel(EmulatedMachine.create("7.3"))
    assert set(kernel.writes(("nr_kdamonds", 1))) == {"ok"}
    kernel.context(targets=2)
    if interval:
        kernel.write("0/contexts/0/monitoring_attrs/intervals/aggr_us", interval)
    assert kernel.command("on") == "ok"
    return kernel


def test_each_aggregation_is_told():
    kernel = started(200_000)
    pid = int(kernel.read("0/pid"))
    with EmulatedTracing(kernel.machine) as traced:
        traced.follow([pid])
        assembler = Assembler()
        assembler.targets = {pid: 2}
        begin = kernel.machine.monotonic()
        found = []
        while len(found) < 3:
            found += assembler.feed(traced.read(1))

    assert abs(kernel.machine.monotonic() - begin - 0.6) < 0.001
    assert [each.pid for each in found] == [pid] * 3
    assert set(found[0].regions.target.tolist()) == {0, 1}
    assert found[0].regions.total == found[1].regions.total > 0


def test_who_is_not_followed_or_off_is_not_told():
    kernel = started()
    traced = EmulatedTracing(kernel.machine)

    assert traced.read(1) == ""

    traced.follow([int(kernel.read("0/pid"))])
    kernel.command("off")

    assert traced.read(1) == ""
