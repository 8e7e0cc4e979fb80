"""A part of `appliable`, always the same: what is valid for a kernel is applied there."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.profiles import PROFILES
from tests.property.appliable import Tally, run

pytestmark = pytest.mark.unmeasured  # tens of thousands of operations get slow by it


@pytest.mark.parametrize("kernel", PROFILES)
def test_what_is_valid_for_a_kernel_is_applied_there(kernel):
    tally = Tally()
    run(60, [kernel], 0, tally)

    assert tally.failures == []
    assert tally.counts["applied"] >= 4, tally
