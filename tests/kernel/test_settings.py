"""Which files a policy may set, and how their contents compare."""

from __future__ import annotations

import re

import pytest

from damonpolicy.base.trust import Untrusted
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.emulated.profiles import PROFILES
from damonpolicy.emulated.system.settings import SETTINGS
from damonpolicy.kernel import settings
from damonpolicy.kernel.forms import Number, form_of
from damonpolicy.kernel.settings import (
    ALLOWED,
    EXTENSION,
    TICKS,
    allowed,
    beyond,
    malformed,
    normalise,
    refusal,
    unreadable,
    usual,
    written,
)
from damonpolicy.kernel.system.machine import LiveMachine
from tests.guest.copied import copied

KSM = "/sys/kernel/mm/ksm/run"


@pytest.mark.parametrize(
    "path",
    [
        KSM,
        "/sys/kernel/mm/transparent_hugepage/khugepaged/defrag",
        "/sys/kernel/mm/numa/demotion_enabled",
        "/sys/kernel/mm/lru_gen/enabled",
        "/sys/kernel/mm/swap/vma_ra_enabled",
        "/sys/module/damon_stat/parameters/enabled",
        "/sys/module/damon_lru_sort/parameters/quota_ms",
        "/sys/module/zswap/parameters/max_pool_percent",
        "/proc/sys/vm/swappiness",
        "/proc/sys/kernel/numa_balancing",
        "/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps",
    ],
)
def test_taken_everywhere(path, tmp_path):
    assert usual(path)
    assert refusal(copied(tmp_path, {path: "1"}), path) == ""


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("sys/kernel/mm/ksm/run", "absolute"),
        ("", "absolute"),
        ("/sys/kernel/mm/ksm/../../../x", "`..`"),
        ("/sys/kernel/mm//ksm/run", "`//`"),
        ("/sys/kernel/mm/ksm/./run", "`.`"),
        ("/sys/kernel/mm/ksm/", "`//`"),
        ("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds", "kdamonds:"),
        ("/sys/kernel/mm/ksmd", "not on the list"),
        ("/etc/passwd", "not on the list"),
        ("/proc/sys/kernel/panic", "not on the list"),
        ("/proc/sys/kernel/numa_balancing/x", "not on the list"),
        ("/sys/module/zswap/parameters/a/b", "not on the list"),
        ("/sys/module/zswap/parameters/enabled\n", "not on the list"),
        ("/sys/module/zram/parameters/enabled", "not on the list"),
        ("/sys/module/damon_stat/uevent", "not on the list"),
        ("/sys/kernel/mm/hugepages", "not on the list"),
    ],
)
def test_refused(path, reason, tmp_path):
    machine = copied(tmp_path, {})

    assert reason in refusal(machine, path)
    assert not usual(path) or malformed(path)


def test_an_administrator_extends_the_list(tmp_path):
    machine = copied(
        tmp_path,
        {
            EXTENSION: "# ours\n/sys/block/  # a directory\n\n/proc/sys/net/x\nrelative/\n/sys/y/z/\n",
            "/sys/block/zram0/x": "1",
        },
    )

    assert allowed(machine) == (*ALLOWED, "/sys/block/", "/proc/sys/net/x", "/sys/y/z/")
    assert refusal(machine, "/sys/block/zram0/x") == ""
    assert refusal(machine, "/proc/sys/net/x") == ""
    assert "not on the list" in refusal(machine, "/proc/sys/net/xy")
    assert "not on the list" in refusal(machine, "/relative/x")
    assert "kdamonds:" in refusal(machine, "/sys/kernel/mm/damon/x")
    assert not usual("/sys/block/zram0/x")


def test_a_list_that_others_can_change_allows_nothing(tmp_path, monkeypatch):
    """Otherwise a user who can write it could make a policy of root's write any file."""
    path = tmp_path / "settings.allow"
    path.write_text("/proc/sys/net/x\n")
    path.chmod(0o644)
    monkeypatch.setattr(settings, "EXTENSION", str(path))
    machine = LiveMachine()
    assert refusal(machine, "/proc/sys/net/x") == ""

    path.chmod(0o666)
    with pytest.raises(Untrusted, match="everyone can change") as caught:
        refusal(machine, "/proc/sys/net/x")
    assert caught.value.hint == f"look at it, then `chmod go-w {path}`"
    assert refusal(machine, "/proc/sys/vm/swappiness") == "", "it is not needed"
    path.unlink()
    assert "not on the list" in refusal(machine, "/proc/sys/net/x")


def test_no_link_leads_out(tmp_path):
    machine = copied(
        tmp_path,
        {
            "/etc/secret": "x",
            "/sys/kernel/mm/ksm/out": f"-> {tmp_path}/etc/secret",
            "/proc/sys/vm/swappiness": "60",
            "/sys/kernel/mm/ksm/within": f"-> {tmp_path}/proc/sys/vm/swappiness",
        },
    )

    assert "it leads to `/etc/secret`" in refusal(machine, "/sys/kernel/mm/ksm/out")
    assert refusal(machine, "/sys/kernel/mm/ksm/within") == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("always [madvise] never\n", "madvise"),
        ("Y\n", "1"),
        ("n", "0"),
        ("N", "0"),
        ("0x0007", "7"),
        ("0X1f", "31"),
        ("  1\t2 \n", "1 2"),
        ("100\n", "100"),
        ("[scan-time] none", "scan-time"),
    ],
)
def test_contents_that_mean_the_same(one, other):
    assert normalise(one) == normalise(other) == other


@pytest.mark.parametrize(
    ("one", "other"), [("1", "10"), ("Y", "N"), ("always", "never"), ("", "0")]
)
def test_contents_that_differ(one, other):
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/sys/kernel/mm/transparent_hugepage/enabled", "madvise"),
        ("/sys/kernel/mm/lru_gen/enabled", "5"),
        ("/sys/module/zswap/parameters/enabled", "Y"),
        (KSM, "1"),
        ("/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps", "200"),
    ],
)
def test_what_a_kernel_reads_back_compares_equal(path, value):
    machine = EmulatedMachine.create("7.3")
    assert normalise(machine.read(path)) != normalise(value)

    machine.write(path, value)

    assert normalise(machine.read(path)) == normalise(value)


def numbers():
    """The files whose limits are known, with their forms."""
    every = {each.path: form_of(each.path) for each in SETTINGS}
    return {path: form for path, form in every.items() if isinstance(form, Number)}


NARROWER = {
    f"/proc/sys/vm/{name}": "kept in timer ticks, of which a kernel may have 1000 a second"
    for name in ("laptop_mode", "stat_interval")
} | {
    "/sys/kernel/mm/ksm/advisor_max_cpu": "mm/ksm.c cuts it to 32 bits",
    "/sys/kernel/mm/lru_gen/min_ttl_ms": "what is above stands for the longest time",
    "/proc/sys/vm/percpu_pagelist_high_fraction": "1 to 7 are refused by its own handler",
}


def test_limits_are_those_that_were_read_from_kernels():
    """The emulated machine's, which real kernels were compared with, but for those that differ."""
    known = {each.path: (each.least, each.most) for each in SETTINGS}
    ours = {path: (form.least, form.most) for path, form in numbers().items()}
    differing = {path for path in ours if known[path] != ours[path]}

    assert differing == set(NARROWER)
    assert all(
        known[path][0] <= ours[path][0] <= ours[path][1] <= known[path][1] for path in differing
    )


def test_words_are_those_that_were_read_from_kernels():
    for each in SETTINGS:
        if each.kind == "chosen" and "transparent_hugepage" in each.path:
            assert not [word for word in each.words if beyond(each.path, word)]
            listed = re.findall("`(.+?)`", beyond(each.path, "sometimes"))
            assert sorted(listed) == sorted(each.words), each.path


@pytest.mark.parametrize("path", sorted(set(numbers()) - set(NARROWER)))
def test_the_emulated_kernel_refuses_what_is_beyond_them(path):
    machine = EmulatedMachine.create("7.3")
    form = numbers()[path]
    machine.write(path, str(form.most))

    assert (beyond(path, str(form.least)), beyond(path, str(form.most))) == ("", "")
    for value in (form.least - 1, form.most + 1):
        assert f"it takes {form.least} to {form.most}" in beyond(path, str(value))
        with pytest.raises(OSError, match=r"Invalid argument|out of range"):
            machine.write(path, str(value))


VALUES = [
    "0", "1", "2", "4", "5", "7", "8", "20", "100", "101", "200", "201", "511", "512", "1000", "1001",
    "3001", "8192", "2147483640", "2147483648", "4294967295", "4294967296", "18446744073709551615",
    "18446744073709551616", "-1", "-5", "-2147483649", "-0", "00", "010", "+1", "0x10", "0x0007", "1.5",
    "1e3", "true", "False", "yes", "no", "on", "off", "Y", "n", "enable", "always", "madvise", "inherit",
    "defer", "within_size", "none", "scan-time", "lz4", "", " 100 ", "1 2", "256 256 32 0 0",
    "always [madvise] never", "\u0663", "many",
]  # fmt: skip


@pytest.mark.parametrize("kernel", PROFILES)
def test_what_is_checked_is_what_is_written_and_read_back(kernel):
    """Each known file × each form of a value: refused, or taken and read back as it was written."""
    machine = EmulatedMachine.create(kernel)
    taken = 0
    for path in machine._settings.known:
        if malformed(path):
            continue
        for value in VALUES:
            content = machine.read(path)
            between = path == TICKS and value.strip().isdecimal() and int(value) % 20
            if beyond(path, value) or unreadable(path, content, value) or between:
                continue
            text = written(path, value, content)
            machine.write(path, text)
            assert normalise(machine.read(path)) == normalise(text), (path, value)
            taken += 1

    assert taken > 500


@pytest.mark.parametrize(
    ("path", "value", "hint"),
    [
        ("/sys/kernel/mm/ksm/run", "on", "write `1`: it takes 0 to 2"),
        ("/sys/kernel/mm/ksm/run", "00", "write `0`: it takes 0 to 2"),
        ("/sys/kernel/mm/ksm/run", "0x1", "write `1`: it takes 0 to 2"),
        ("/proc/sys/vm/swappiness", "010", "write `10`: it takes 0 to 200"),
        ("/sys/kernel/mm/ksm/max_page_sharing", "1", "it takes 2 to 2147483647"),
        ("/sys/kernel/mm/ksm/smart_scan", "2", "it takes `1` or `0`"),
        ("/sys/kernel/mm/lru_gen/enabled", "8", "it takes `y`, `n`, or 0 to 7"),
        ("/proc/sys/vm/percpu_pagelist_high_fraction", "7", "it takes 0 or 8 to 2147483647"),
        ("/proc/sys/vm/of_tomorrow", "010", "write `10`"),
        ("/proc/sys/vm/of_tomorrow", "", "write what the file is to hold"),
    ],
)
def test_a_value_in_another_form_is_refused_with_the_right_one(path, value, hint):
    assert beyond(path, value) == hint


@pytest.mark.parametrize(
    ("path", "value", "content", "expected"),
    [
        ("/sys/module/damon_stat/parameters/enabled", "off", "Y", "N"),
        ("/sys/kernel/mm/numa/demotion_enabled", "1", "false", "true"),
        ("/sys/kernel/mm/ksm/smart_scan", "Y", "0", "1"),
        ("/sys/kernel/mm/lru_gen/enabled", "y", "0x0000", "0x0007"),
        ("/proc/sys/vm/swappiness", " 70 ", "60", "70"),
        ("/proc/sys/vm/lowmem_reserve_ratio", "1 2  3 4 5", "256 256 32 0 0", "1\t2\t3\t4\t5"),
        ("/sys/module/zswap/parameters/of_tomorrow", "yes", "N", "Y"),
    ],
)
def test_a_value_is_written_as_its_file_shows_it(path, value, content, expected):
    assert written(path, value, content) == expected


@pytest.mark.parametrize("name", ["compact_memory", "drop_caches", "stat_refresh"])
def test_a_command_is_no_setting(name):
    assert "put back" in malformed(f"/proc/sys/vm/{name}")


@pytest.mark.parametrize("value", ["9" * 5000, "٣", "", "ten", "1.5"])
def test_what_is_no_number_is_beyond_every_limit(value):
    assert beyond("/proc/sys/vm/swappiness", value) == "it takes 0 to 200"
