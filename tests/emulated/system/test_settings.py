import errno

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.settings import normalise

KSM = "/sys/kernel/mm/ksm"
THP = "/sys/kernel/mm/transparent_hugepage"
VM = "/proc/sys/vm"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (f"{KSM}/run", "1\n", "1"), (f"{KSM}/run", "+1", "1"), (f"{KSM}/run", "3", "EINVAL"),
        (f"{KSM}/pages_to_scan", "010", "10"), (f"{KSM}/pages_to_scan", "0x10", "EINVAL"),
        (f"{KSM}/pages_to_scan", "4294967296", "EINVAL"),
        (f"{KSM}/advisor_max_cpu", "4294967296", "0"),
        (f"{KSM}/max_page_sharing", "1", "EINVAL"), (f"{KSM}/max_page_sharing", "2147483648", "ERANGE"),
        (f"{KSM}/merge_across_nodes", "2", "EINVAL"),
        (f"{KSM}/merge_across_nodes", "18446744073709551616", "ERANGE"),
        (f"{KSM}/smart_scan", "Y", "1"), (f"{KSM}/advisor_mode", "scan-time", "none [scan-time]"),
        (f"{KSM}/advisor_target_scan_time", "0", "EINVAL"), (f"{KSM}/pages_shared", "1", "EACCES"),
        (f"{THP}/enabled", "madvise\n", "always [madvise] never"), (f"{THP}/enabled", "Madvise", "EINVAL"),
        (f"{THP}/enabled", "", "[always] madvise never"), (f"{THP}/enabled", "\n", "EINVAL"),
        (f"{THP}/defrag", "defer+madvise", "always defer [defer+madvise] madvise never"),
        (f"{THP}/hugepages-64kB/enabled", "inherit", "always [inherit] madvise never"),
        (f"{THP}/khugepaged/max_ptes_none", "512", "EINVAL"),
        (f"{THP}/khugepaged/pages_to_scan", "0", "EINVAL"),
        ("/sys/kernel/mm/numa/demotion_enabled", "1", "true"),
        ("/sys/kernel/mm/lru_gen/enabled", "n", "0x0000"), ("/sys/kernel/mm/lru_gen/enabled", "5", "0x0005"),
        ("/sys/kernel/mm/lru_gen/min_ttl_ms", "1001", "1004"),
        ("/sys/kernel/mm/lru_gen/min_ttl_ms", "2147483648", "4294967288"),
        ("/sys/module/zswap/parameters/enabled", "1", "Y"),
        ("/sys/module/zswap/parameters/compressor", " lz4\n", "lz4"),
        ("/sys/module/zswap/parameters/max_pool_percent", "0x10", "16"),
        ("/proc/sys/kernel/numa_balancing", "0", "0"), ("/proc/sys/kernel/numa_balancing", "5", "EINVAL"),
        (f"{VM}/swappiness", " 70 \n", "70"), (f"{VM}/swappiness", "201", "EINVAL"),
        (f"{VM}/swappiness", "0x10", "16"), (f"{VM}/percpu_pagelist_high_fraction", "7", "EINVAL"),
        (f"{VM}/lowmem_reserve_ratio", "1 2", "1\t2\t32\t0\t0"),
        (f"{VM}/drop_caches", "5", "EINVAL"), (f"{VM}/admin_reserve_kbytes", "-1", "EINVAL"),
        (f"{VM}/dirty_bytes", "4096", "EINVAL"), (f"{VM}/watermark_scale_factor", "3000", "3000"),
    ],
)  # fmt: skip
def test_as_seen_on_real_kernels(kernel, path, text, expected):
    answer = kernel.write(path, text)

    assert expected == (kernel.read(path) if answer == "ok" else answer)


def test_a_second_number_is_a_short_write(kernel):
    assert kernel.write(f"{VM}/swappiness", "7 8") == "EIO"
    assert kernel.read(f"{VM}/swappiness") == "7"


def test_bytes_and_ratios_exclude_each_other(kernel):
    kernel.write(f"{VM}/dirty_bytes", 1 << 20)
    assert kernel.read(f"{VM}/dirty_ratio") == "0"
    kernel.write(f"{VM}/dirty_ratio", 20)
    assert kernel.read(f"{VM}/dirty_bytes") == "0"
    assert kernel.write(f"{VM}/dirty_bytes", 0) == "EINVAL", "it cannot be put back by itself"


def test_the_advisor_takes_the_number_of_pages(kernel):
    kernel.write(f"{KSM}/pages_to_scan", 77)
    kernel.write(f"{KSM}/advisor_mode", "scan-time")
    assert kernel.read(f"{KSM}/pages_to_scan") == "500"
    assert kernel.write(f"{KSM}/pages_to_scan", 77) == "EINVAL"
    kernel.write(f"{KSM}/advisor_mode", "none")
    assert kernel.read(f"{KSM}/pages_to_scan") == "100", "not what it was"


def test_every_setting_can_be_written_as_it_reads(every):
    machine = every.machine
    for path, setting in machine._settings.known.items():
        before = machine.read(path) if setting.mode & 0o400 else ""
        if setting.mode & 0o200 and before and before != "0\n":
            machine.write(path, normalise(before))
            assert machine.read(path) == before, path


def test_files_follow_the_version(every):
    old = every.machine.profile.version == "6.12"

    assert (every.read(f"{VM}/defrag_mode") == "ENOENT") is old
    zswap = every.machine.exists("/sys/module/zswap/parameters/enabled")
    assert zswap is (every.machine.profile.version == "7.3")


def test_settings_of_the_description_must_be_possible():
    for path, text in (("/sys/kernel/mm/ksm/run", "9"), ("/proc/sys/vm/nosuch", "1")):
        with pytest.raises(Exception, match=path):
            EmulatedMachine.create("7.3", spec={"settings": {path: text}})


def test_write_only_files_cannot_be_read(kernel):
    with pytest.raises(PermissionError) as caught:
        kernel.machine.read(f"{VM}/drop_caches")
    assert caught.value.errno == errno.EACCES
    assert kernel.write(f"{VM}/drop_caches", 3) == "ok"
