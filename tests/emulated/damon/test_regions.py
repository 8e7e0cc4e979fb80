"""How many regions there are, and memory that is accessed in phases."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated.damon.regions import Region, _merged
from damonpolicy.emulated.machine import EmulatedMachine
from tests.emulated.conftest import Kernel
from tests.emulated.damon.test_monitor import MIB, C, size, tried

COUNT = f"{C}/monitoring_attrs/nr_regions"


def on(areas, version="7.3", **more):
    """A kernel whose kdamond watches one process with these areas."""
    spec = {"modules": {"damon_stat": False}} if version != "6.12" else {}
    processes = [{"name": "one", "pid": 811, "areas": areas}]
    kernel = Kernel(EmulatedMachine.create(version, spec={**spec, "processes": processes, **more}))
    kernel.write("nr_kdamonds", 1)
    kernel.context()
    return kernel


@pytest.mark.parametrize("version", ["6.12", "7.3"])
def test_there_are_no_more_regions_than_the_maximum(version):
    areas = [{"size": "4MiB", "rate": f"{each * 6}%"} for each in range(15)]
    kernel = on(areas, version)
    kernel.writes((f"{COUNT}/min", 3), (f"{COUNT}/max", 10))
    kernel.command("on")

    assert 3 <= len(tried(kernel)) <= 10
    kernel.write(f"{COUNT}/max", 7)
    assert kernel.command("commit") == "ok"
    kernel.machine.sleep(1)
    assert 3 <= len(tried(kernel)) <= 7


def region(start, end, accesses=0, *, target=0, memory=True, age=0):
    area = {"rate": accesses / 20, "size": end - start} if memory else None
    return Region(start, end, target, accesses, age, area, 1)


def test_the_most_alike_neighbours_are_merged_first():
    found = _merged([region(0, 10, 20), region(10, 20, 1), region(20, 30, 2)], 2, 20)

    assert [(each.start, each.end, each.accesses) for each in found] == [(0, 10, 20), (10, 30, 1)]


def test_what_is_merged_has_the_mean_by_size():
    (found,) = _merged([region(0, 30, 8, age=4), region(30, 40, 0, age=8)], 1, 20)

    assert (found.accesses, found.age) == (6, 5)


def test_the_smallest_gap_is_monitored_before_a_larger_one():
    three = [region(0, 10, 5), region(100, 110, 5), region(120, 130, 5)]
    near = _merged(three, 2, 20)

    assert [(each.start, each.end, each.memory) for each in near] == [(0, 10, 10), (100, 130, 20)]


def test_regions_of_two_targets_are_never_merged():
    assert len(_merged([region(0, 10), region(10, 20, target=1)], 1, 20)) == 2


def test_a_scheme_touches_only_the_memory_of_a_merged_region():
    kernel = on([{"size": "4MiB"}, {"size": "4MiB"}])
    kernel.writes((f"{COUNT}/min", 3), (f"{COUNT}/max", 3), (f"{C}/schemes/0/action", "pageout"))
    kernel.command("on")
    kernel.machine.sleep(0.15)
    kernel.command("update_schemes_stats")

    assert int(kernel.read(f"{C}/schemes/0/stats/sz_applied")) <= 8 * MIB


PHASES = [{"for": "10s", "rate": "90%"}, {"for": "30s"}]


def test_phases_follow_each_other_in_turn():
    kernel = on([{"size": "4MiB", "phases": PHASES}])
    kernel.command("on")
    seen = []
    for _ in range(9):
        found = tried(kernel)
        assert size(found) == 4 * MIB
        seen.append(bool(found[0][2]))
        kernel.machine.sleep(10 - kernel.machine.monotonic() % 10 + 1)

    assert seen == [True, False, False, False, True, False, False, False, True]


def test_ages_begin_with_a_phase():
    kernel = on([{"size": "4MiB", "phases": PHASES}])
    kernel.command("on")
    kernel.machine.sleep(25)

    (age,) = {each[3] for each in tried(kernel)}
    assert age == pytest.approx(150, abs=3), "aggregations of 100 ms since the tenth second"


def test_an_area_with_phases_has_no_rate_beside_them():
    with pytest.raises(UsageError, match=r"has phases and `rate`"):
        on([{"size": "4MiB", "rate": "5%", "phases": PHASES}])
