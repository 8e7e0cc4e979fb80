"""Settings for which nothing has to be done."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.settings import missing


@pytest.mark.parametrize(
    ("path", "value", "so"),
    [
        ("/sys/module/damon_stat/parameters/enabled", "N", True),
        ("/sys/module/damon_reclaim/parameters/enabled", " 0\n", True),
        ("/sys/module/damon_stat/parameters/enabled", "Y", False),
        ("/sys/module/zswap/parameters/enabled", "N", True),
        ("/sys/module/zswap/parameters/max_pool_percent", "0", False),
        ("/proc/sys/kernel/numa_balancing", "0", True),
        ("/proc/sys/kernel/numa_balancing", "1", False),
        ("/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps", "0", False),
        ("/sys/kernel/mm/numa/demotion_enabled", "false", True),
        ("/sys/kernel/mm/ksm/run", "0", True),
        ("/sys/kernel/mm/ksm/run", "2", False),
        ("/sys/kernel/mm/ksm/runs", "0", False),
        ("/sys/kernel/mm/ksm/advisor_mode", "none", True),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "never", True),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "madvise", False),
        ("/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled", "never", True),
        ("/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan", "0", False),
        ("/proc/sys/vm/swappiness", "0", False),
        ("/sys/module/damon_stat/parameters/quota_ms", "0", False),
    ],
)
def test_what_a_kernel_has_not_is_as_good_as_switched_off(path, value, so):
    assert missing(path, value) is so
