"""The kernel's meaning of a number without a unit comes first in the hint."""

from __future__ import annotations

import pytest

from damonpolicy.policy.reading.hints import bare_number, kernel_unit

S = ("kdamonds", 0, "schemes", 2)


@pytest.mark.parametrize(
    ("path", "text", "hint"),
    [
        (("kdamonds", 0, "intervals", "sample"), "5000",
         "write `5ms` (the kernel's 5000 microseconds), `5000ms` or `5000s`"),
        (("kdamonds", 0, "refresh"), "500", "write `500ms` (as the kernel counts) or `500s`"),
        ((*S, "quota", "every"), "1000",
         "write `1s` (the kernel's 1000 milliseconds), `1000ms` or `1000s`"),
        ((*S, "watermarks", "mid"), "99", "write `9.9%` (the kernel's 99 permil) or `99%`"),
        ((*S, "watermarks", "high"), "500", "write `50%` (the kernel's 500 permil)"),
        ((*S, "access_pattern", "access_rate", "min"), "5",
         "write `5 samples` (as the kernel counts) or `5%`"),
        ((*S, "access_pattern", "age", "min"), "3000",
         "write `3000 aggregations` (as the kernel counts), `3000ms` or `3000s`"),
        (("kdamonds", 0, "intervals", "auto_tune", "observe"), "400",
         "write `4%` (the kernel's 400 basis points)"),
        (("modules", "damon_reclaim", "min_age"), "60000000",
         "write `1m` (the kernel's 60000000 microseconds), `60000000ms` or `60000000s`"),
        (("modules", "damon_reclaim", "wmarks_mid"), "99",
         "write `9.9%` (the kernel's 99 permil) or `99%`"),
        ((*S, "watermarks", "high"), "5000", "as before"),
        ((*S, "access_pattern", "age", "min"), "1.5", "as before"),
        ((*S, "quota", "size"), "100", "as before"),
        (("tuning", 0, "every"), "100", "as before"),
    ],
)  # fmt: skip
def test_the_kernels_reading_comes_first(path, text, hint):
    assert bare_number(kernel_unit(path), text, "as before") == hint
