"""Intervals that the kernel has tuned survive a change, and an undone change."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.kernel.system.machine import KDAMONDS, read_value
from tests.world import ROOT, World, fail_at

# far more than this memory is accessed: the kernel stretches its intervals in search of it
POLICY = (ROOT / "policies/memory-tiering.yaml").read_text().replace("observe: 4%", "observe: 99%")
SAMPLE = "0/contexts/0/monitoring_attrs/intervals/sample_us"


def tuned(world):
    """Let the kernel tune until the sampling interval has moved, and return it."""
    for _ in range(50):
        world.machine.sleep(10)
        world.write("0/state", "update_tuned_intervals")
        value = int(read_value(world.machine, f"{KDAMONDS}/{SAMPLE}"))
        if value > 5_000:
            return value
    raise AssertionError("the emulated kernel does not tune")


def asked(world):
    """Ask the kernel for the interval in use, whatever the files say."""
    world.write("0/state", "update_tuned_intervals")
    return int(read_value(world.machine, f"{KDAMONDS}/{SAMPLE}"))


@pytest.fixture(params=["6.18", "7.3"])
def world(request):
    made = World.make(request.param)
    made.apply("memory-tiering", text=POLICY)
    yield made
    made.close()


def test_a_change_reads_tuned_intervals_back_first(world):
    value = tuned(world)

    world.apply("memory-tiering", {"rate": "100MiB"}, POLICY)

    assert asked(world) >= value


def test_an_undone_change_does_not_reset_them(world):
    value = tuned(world)
    for number in itertools.count(1):
        seen = fail_at(world.machine, number)
        with contextlib.suppress(DamonPolicyError):
            world.apply("memory-tiering", {"rate": "100MiB"}, POLICY)
        world.machine.before_write = None
        if seen["writes"] < number:
            break
        assert asked(world) >= value, f"error at write {number}"


def test_new_bounds_start_tuning_anew(world):
    tuned(world)
    world.apply("memory-tiering", text=POLICY.replace("max_sample: 10s", "max_sample: 6ms"))

    assert 5_000 <= asked(world) <= 6_000
