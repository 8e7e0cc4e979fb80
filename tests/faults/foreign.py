"""A second program interferes: it configures, starts and stops a kdamond of its own meanwhile.

`python -m tests.faults.foreign --rounds 500`: in each round one process applies, changes and
removes a policy, and another one plays with the last slot, both on one durable emulated machine. In
the end what is on record runs, what runs is on record or the other's, and what the other held up is
ended.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import sys
import time
from contextlib import suppress

os.environ["DAMONPOLICY_FORBID_LIVE"] = "1"

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import journal
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.faults.test_strangers import SLOT, configure
from tests.policies import SWAPPY
from tests.world import STAT_OFF, World, in_memory_directory


def opened(directory) -> World:
    return World(EmulatedMachine.create("7.3", store=directory / "machine"), directory)


def interfere(directory, seed: int) -> None:
    """Be the other program for a moment, at random times."""
    chance, world = random.Random(seed), opened(directory)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        time.sleep(chance.random() * 0.02)
        with suppress(OSError):
            configure(world, on=chance.random() < 0.5)
            if chance.random() < 0.5:
                time.sleep(chance.random() * 0.02)
                world.write(f"{SLOT}/state", "off")
                world.write(f"{SLOT}/contexts/nr_contexts", "0")


def changed(world: World) -> collections.Counter:
    """Apply, change and remove a policy; return how each ended."""
    ends = collections.Counter()
    for do in (
        lambda: world.apply("a", text=SWAPPY),
        lambda: world.apply("a", text=SWAPPY.replace("70", "60")),
        lambda: world.remove("a"),
    ):
        try:
            do()
        except DamonPolicyError as error:
            ends[int(error.exit_code)] += 1
        else:
            ends[0] += 1
    return ends


def wrong(world: World) -> str:
    """Return how a promise was broken when both are done."""
    if journal.read(world.places.journal) is not None:
        with suppress(OSError):  # they go, and what they held up can end
            world.write(f"{SLOT}/state", "off")
        with suppress(OSError):
            world.write(f"{SLOT}/contexts/nr_contexts", "0")
        try:
            world.recover()
        except DamonPolicyError as error:
            return f"recover: {error}"
    managed = world.managed
    for slot, record in managed.slots.items():
        if slot == SLOT:
            return "their slot is called ours"
        if world.machine.running(slot) is None:
            return f"{record.kdamond} is on record and does not run"
    for slot in range(int(world.machine.read(f"{KDAMONDS}/nr_kdamonds"))):
        if slot != SLOT and slot not in managed.slots and world.machine.running(slot):
            return f"slot {slot} runs and nobody knows it"
    return world.machine.poisoned


def round_(seed: int) -> tuple[collections.Counter, str]:
    directory = in_memory_directory()
    world = opened(directory)
    world.write(STAT_OFF, "N")
    child = os.fork()
    if child == 0:
        try:
            interfere(directory, seed)
        finally:
            os._exit(0)
    ends = changed(world)
    os.waitpid(child, 0)
    reason = wrong(world)
    shutil.rmtree(directory)
    return ends, reason


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.foreign", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    total, broken = collections.Counter(), 0
    for number in range(options.rounds):
        ends, reason = round_(options.seed * 100_000 + number)
        total += ends
        if reason:
            broken += 1
            print(f"round {number}: {reason}", flush=True)
    print(
        f"{options.rounds} rounds, by exit code {dict(sorted(total.items()))}, {broken} violations"
    )
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
