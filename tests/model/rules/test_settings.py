"""Settings that need nothing to be done."""

from __future__ import annotations

import pytest

from damonpolicy.model.rules.settings import already_so


@pytest.mark.parametrize(
    ("path", "value", "so"),
    [
        ("/sys/module/damon_stat/parameters/enabled", "N", True),
        ("/sys/module/damon_reclaim/parameters/enabled", " 0\n", True),
        ("/sys/module/damon_stat/parameters/enabled", "Y", False),
        ("/sys/module/zswap/parameters/enabled", "N", False),
        ("/sys/module/damon_stat/parameters/quota_ms", "0", False),
    ],
)
def test_a_missing_module_is_as_good_as_one_switched_off(path, value, so):
    assert already_so(path, value) is so
