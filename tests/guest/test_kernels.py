"""The tests in inside/, on every required kernel: `run` does the work.

In two halves, and those that take the longest first, so that of two CPUs none is idle at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from . import run
from .conftest import KERNEL_LINE
from .errors import Unavailable


@pytest.mark.kernel
@pytest.mark.parametrize("part", run.PARTS)
@pytest.mark.parametrize("series", run.wanted()[::-1])
def test_kernel(series: str, part: str, record_property: Callable[[str, object], None]) -> None:
    """All tests pass on the newest kernel of the series."""
    try:
        outcome = run.run_series(series, part=part, others=run.newest(run.wanted()))
    except Unavailable as error:
        line, fatal = run.verdict(str(error), [series])
        record_property(KERNEL_LINE, line)
        if fatal:
            pytest.fail(line)
        pytest.skip(line)
    record_property(KERNEL_LINE, outcome.line)
    if not outcome.ok:
        pytest.fail(outcome.text, pytrace=False)
