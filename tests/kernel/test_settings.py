"""Which files a policy may set, and how their contents compare."""

from __future__ import annotations

import re

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.emulated.settings import SETTINGS
from damonpolicy.kernel import settings
from damonpolicy.kernel.settings import (
    ALLOWED,
    EXTENSION,
    LIMITS,
    allowed,
    beyond,
    malformed,
    normalise,
    refusal,
    usual,
)
from damonpolicy.kernel.sysfs import LiveMachine
from damonpolicy.trust import Untrusted
from tests.kernel.copied import copied

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
    """Or whoever can write it could let a policy of root's write any file."""
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


def test_limits_are_those_that_were_read_from_kernels():
    """The emulated machine's, which real kernels were compared with, but for those that differ."""
    known = {each.path: (each.least, each.most) for each in SETTINGS}

    assert {path: known[path] for path in LIMITS} == LIMITS


def test_words_are_those_that_were_read_from_kernels():
    for each in SETTINGS:
        if each.kind == "chosen" and "transparent_hugepage" in each.path:
            assert not [word for word in each.words if beyond(each.path, word)]
            listed = re.findall("`(.+?)`", beyond(each.path, "sometimes"))
            assert sorted(listed) == sorted(each.words), each.path


@pytest.mark.parametrize("path", LIMITS)
def test_the_emulated_kernel_refuses_what_is_beyond_them(path):
    machine = EmulatedMachine.create("7.3")
    least, most = LIMITS[path]
    machine.write(path, str(most))

    assert (beyond(path, str(least)), beyond(path, str(most))) == ("", "")
    for value in (least - 1, most + 1):
        assert beyond(path, str(value)) == f"it takes {least} to {most}"
        with pytest.raises(OSError, match=r"Invalid argument|out of range"):
            machine.write(path, str(value))


@pytest.mark.parametrize("value", ["9" * 5000, "٣", "", "ten", "1.5", "+1"])
def test_what_is_no_number_is_beyond_every_limit(value):
    assert beyond("/proc/sys/vm/swappiness", value) == "it takes 0 to 200"
