"""Differences that one script on emulated and real kernels has revealed.

The script is tests/guest/inside/script; here is what it cannot pin, for numbers of real
kernels hang on time.
"""

import pytest

C = "0/contexts/0"
S = f"{C}/schemes/0"
Q = f"{S}/quotas"
P = f"{C}/monitoring_attrs/probes"
R = f"{C}/targets/0/regions"
MIB = 1 << 20
PAGE = 4096


def stats(kernel, *names):
    assert kernel.command("update_schemes_stats") == "ok"
    return tuple(int(kernel.read(f"{S}/stats/{name}")) for name in names)


def effective(kernel):
    assert kernel.command("update_schemes_effective_quotas") == "ok"
    return int(kernel.read(f"{Q}/effective_bytes"))


@pytest.mark.parametrize("version", ["6.18", "7.3"])
def test_statistics_and_quotas_count_in_address_units(version, making):
    kernel = making(version)
    kernel.context("paddr").region(16384, 65536)
    kernel.writes(
        (f"{C}/addr_unit", PAGE), (f"{Q}/bytes", 50_000), (f"{Q}/reset_interval_ms", 9999)
    )
    kernel.command("on")

    kernel.machine.sleep(0.1)

    assert stats(kernel, "sz_tried") == (49152,)


def test_the_first_window_of_a_quota_limits_nothing_on_6_12(every):
    every.context("paddr").region(16 * MIB, 48 * MIB)
    every.writes((f"{Q}/bytes", MIB), (f"{Q}/reset_interval_ms", 10_000))
    every.command("on")

    every.machine.sleep(0.2)

    late = every.machine.profile.version == "6.12"
    assert (effective(every), stats(every, "sz_tried")) == (
        (0, (2 * 32 * MIB,)) if late else (MIB, (MIB,))
    )
    every.machine.sleep(20)
    assert effective(every) == MIB


def test_less_than_a_page_is_nothing(every):
    every.context("paddr").region(16 * MIB, 16 * MIB + PAGE)
    every.writes((f"{Q}/bytes", PAGE - 1), (f"{Q}/reset_interval_ms", 100))
    every.command("on")
    every.machine.sleep(0.5)
    first = stats(every, "nr_tried", "sz_tried", "qt_exceeds")

    every.machine.sleep(1)

    tried, size, exceeded = stats(every, "nr_tried", "sz_tried", "qt_exceeds")
    counted = every.machine.profile.version != "7.3"
    assert (tried > first[0], size == first[1], exceeded > first[2]) == (counted, True, not counted)


def test_hits_of_probes(kernel):
    kernel.context("paddr").region(65 * MIB, 66 * MIB)
    kernel.writes((f"{P}/nr_probes", 2), *((f"{P}/{n}/filters/nr_filters", 1) for n in (0, 1)))
    kernel.writes(*((f"{P}/{n}/filters/0/allow", "Y") for n in (0, 1)))
    kernel.write(f"{P}/0/filters/0/matching", "Y")
    kernel.command("on")

    assert kernel.command("update_schemes_tried_regions") == "ok"

    here = f"{S}/tried_regions/0/probes"
    assert [kernel.read(f"{here}/{n}/hits") for n in (0, 1, 2)] == ["20", "0", "ENOENT"]


def test_modules_find_a_region_for_themselves(every):
    start, end = (
        f"/sys/module/damon_reclaim/parameters/monitor_region_{name}" for name in ("start", "end")
    )
    every.write("/sys/module/damon_stat/parameters/enabled", "N")
    assert (every.read(start), every.read(end)) == ("0", "0")

    assert every.write("/sys/module/damon_reclaim/parameters/enabled", "Y") == "ok"

    whole = every.machine.profile.version == "7.3"
    expected = (PAGE, 5 << 30) if whole else (4 << 30, (5 << 30) - 1)
    assert (int(every.read(start)), int(every.read(end))) == expected


def test_modules_keep_the_region_they_were_given(kernel):
    start = "/sys/module/damon_lru_sort/parameters/monitor_region_start"
    end = "/sys/module/damon_lru_sort/parameters/monitor_region_end"
    kernel.write("/sys/module/damon_stat/parameters/enabled", "N")
    kernel.writes((start, MIB), (end, 2 * MIB))

    assert kernel.write("/sys/module/damon_lru_sort/parameters/enabled", "Y") == "ok"

    assert (kernel.read(start), kernel.read(end)) == (str(MIB), str(2 * MIB))


@pytest.mark.parametrize("command", ["on", "commit"])
def test_changing_regions_that_share_a_page_ends_6_18(command, making):
    kernel = making("6.18")
    kernel.context("paddr").region(16 * MIB, 16 * MIB + PAGE)
    if command == "commit":
        assert kernel.command("on") == "ok"
    kernel.writes((f"{R}/nr_regions", 2), (f"{R}/0/start", 16 * MIB), (f"{R}/0/end", 16 * MIB + 9))
    kernel.writes((f"{R}/1/start", 16 * MIB + 99), (f"{R}/1/end", 16 * MIB + 100))
    assert kernel.command(command) == "ok"
    assert not kernel.machine.poisoned

    kernel.command("commit")

    assert "share a page" in kernel.machine.poisoned
