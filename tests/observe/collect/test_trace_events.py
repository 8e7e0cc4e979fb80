from __future__ import annotations

from dataclasses import replace

import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.observe.collect import trace_events
from damonpolicy.observe.collect.running import running
from damonpolicy.observe.collect.trace import Burst, parse
from damonpolicy.observe.collect.trace_events import Traced, Watched, watched
from damonpolicy.observe.regions import Intervals, Source
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.plan.state import Managed
from tests.emulated.conftest import Kernel
from tests.observe.collect.test_trace import burst

MS = 1_000_000
WATCHED = Watched(40, Source("p/k", origin="trace"), Intervals(5000, 100_000), 1, 1000, 1)


class Text:
    """Events that are given."""

    epoch = 1_000_000 * MS

    def __init__(self):
        self.texts = []
        self.pids = []
        self.closed = False

    def follow(self, pids):
        self.pids = list(pids)

    def read(self, seconds):
        return self.texts.pop(0) if self.texts else ""

    def close(self):
        self.closed = True


@pytest.fixture
def kernel():
    made = Kernel(EmulatedMachine.create("7.3"))
    made.writes(("nr_kdamonds", 2))
    made.context("vaddr")
    made.command("on")
    return made


def of(kernel):
    return watched(kernel.machine, running(retrieve(kernel.machine), Managed("")))


@pytest.fixture
def text(monkeypatch):
    made = Text()
    monkeypatch.setattr(trace_events, "_open", lambda machine, regions: made)
    return made


def test_what_runs_is_watched(kernel):
    (found,) = of(kernel)

    assert found.pid == int(kernel.read("0/pid"))
    assert (found.source.kdamond, found.source.ops, found.source.origin) == (
        "slot 0", "vaddr", "trace",
    )  # fmt: skip
    assert found.source.targets[0].pid == 811
    assert (found.intervals.sample, found.intervals.aggregation) == (5000, 100_000)
    assert (found.targets, found.regions, found.unit) == (1, 1000, 1)


def test_snapshots_of_an_emulated_machine(kernel):
    with Traced(kernel.machine, of(kernel)) as source:
        found = []
        while len(found) < 3:
            found += source.read(1)

    lasted = [end - begin for _, begin, end, _, _ in found]
    assert all(abs(each - 100 * MS) < MS for each in lasted)
    assert found[0][2] == found[1][1]
    assert all(len(each[4]) for each in found)


@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1)])
def test_probes_that_come_and_go_online_break_nothing(before, after):
    kernel = Kernel(EmulatedMachine.create("7.3"))
    probes = "0/contexts/0/monitoring_attrs/probes/nr_probes"
    kernel.writes(("nr_kdamonds", 1))
    kernel.context("vaddr")
    kernel.writes((probes, before))
    kernel.command("on")
    there = trace_events.watched(kernel.machine, running(retrieve(kernel.machine), Managed("")))
    with trace_events.Traced(kernel.machine, there) as trace:
        first = [each for _ in range(5) for each in trace.read(0.2)]
        kernel.writes((probes, after))
        kernel.command("commit")
        later = [each for _ in range(10) for each in trace.read(0.2)]

        assert trace.changed(), "so that whoever records looks at them anew"
        assert trace.assembler.broken == 0
    assert len(first) >= 4
    assert len(later) >= 8


def test_hits_of_probes_are_told():
    kernel = Kernel(EmulatedMachine.create("7.3"))
    kernel.writes(("nr_kdamonds", 1))
    kernel.context("paddr")
    kernel.writes(
        ("0/contexts/0/targets/0/regions/nr_regions", 1),
        ("0/contexts/0/targets/0/regions/0/start", 1 << 32),
        ("0/contexts/0/targets/0/regions/0/end", 3 << 32),
        ("0/contexts/0/monitoring_attrs/probes/nr_probes", 2),
        ("0/contexts/0/monitoring_attrs/probes/0/filters/nr_filters", 1),
        ("0/contexts/0/monitoring_attrs/probes/0/filters/0/type", "anon"),
        ("0/contexts/0/monitoring_attrs/probes/0/filters/0/matching", "Y"),
        ("0/contexts/0/monitoring_attrs/probes/0/filters/0/allow", "Y"),
    )
    kernel.command("on")
    (series,) = trace_events.look(kernel.machine, running(retrieve(kernel.machine), Managed("")))

    assert series.source.probes == ("0", "1")
    assert series.regions.hits.shape == (len(series.regions), 2)
    assert 0 < series.regions.hits[:, 0].max() <= 20
    assert set(series.regions.hits[:, 1].tolist()) == {0, 20}  # nothing where no memory is


def test_kdamonds_that_begin_and_end(kernel):
    with Traced(kernel.machine, of(kernel)) as source:
        assert not source.changed()

        kernel.context("paddr", slot=1)
        kernel.command("off")
        assert source.changed()

        source.follow(of(kernel))
        assert source.kdamonds == []
        assert not source.changed()


def test_times_and_tuned_intervals(text):
    with Traced(None, [WATCHED]) as source:
        assert text.pids == [40]
        tune = "kdamond.0-40 [001] 1.0: damon_monitor_intervals_tune: sample_us=10000\n"
        text.texts = [burst(1) + burst(1.1) + tune + burst(1.3), burst(3)]
        found = [*source.read(0), *source.read(0), *source.finish()]

    assert text.closed
    assert [(begin // MS - 1_000_000, end // MS - 1_000_000) for _, begin, end, _, _ in found] == [
        (900, 1000), (1000, 1100), (1100, 1300), (2800, 3000),
    ]  # fmt: skip
    assert [each[3] for each in found] == [Intervals(5000, 100_000)] * 2 + [
        Intervals(10_000, 200_000)
    ] * 2


def test_addresses_are_bytes(text):
    with Traced(None, [replace(WATCHED, unit=4096)]) as source:
        text.texts = [burst(1)]
        (found,) = source.read(0)

    assert found[4].start.tolist() == [0, 4096 * 4096]


def test_what_is_left_of_others_is_left_out(text):
    with Traced(None, [WATCHED]) as source:
        assert source._snapshots([Burst(7, 1, parse("").regions())]) == []


def test_a_copy_of_files_has_no_events(tmp_path):
    with pytest.raises(UsageError, match="no trace events"):
        Traced(LiveMachine(str(tmp_path)), [WATCHED])


def test_the_real_machine_is_not_traced_by_tests(monkeypatch):
    monkeypatch.setattr("damonpolicy.kernel.damon.tracing.os.path.isdir", lambda path: True)
    with pytest.raises(PermissionError):
        Traced(LiveMachine(), [WATCHED])
